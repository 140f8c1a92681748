"""A small threaded HTTP server that every process of the stack shares: health, metrics, and measured requests."""

import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, ClassVar

from opentelemetry import context, propagate, trace
from opentelemetry.metrics import Histogram
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024


class RefusedError(Exception):
    """A request that is answered with an error status and a reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class StackHandler(BaseHTTPRequestHandler):
    """Answers `/healthz` and `/metrics`; a subclass adds `routes` as `(method, first path segment) -> method name`."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    duration: ClassVar[Histogram]
    tracer: ClassVar[trace.Tracer]
    routes: ClassVar[Mapping[tuple[str, str], str]] = {}
    _status = 0

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def read_json(self) -> dict[str, Any]:
        """Return the request's JSON object. Raises RefusedError for anything else."""
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length is not a number") from None
        if not 0 < length <= MAX_BODY_BYTES:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"a body of 1 to {MAX_BODY_BYTES} bytes is allowed")
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
        return body

    def answer(self, status: HTTPStatus, body: bytes, content_type: str = "application/json") -> None:
        """Send a whole answer."""
        self._status = int(status)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Send server-sent events as they come, ending with `[DONE]`."""
        self._status = 200
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self._write_chunk(f"data: {json.dumps(event)}\n\n".encode())
        self._write_chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        """Say nothing for each request; failures are logged where they happen."""

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _serve(self, method: str) -> None:
        path = self.path.split("?", 1)[0]
        if method == "GET" and path == "/healthz":
            self.answer(HTTPStatus.OK, b'{"status": "ok"}')
            return
        if method == "GET" and path == "/metrics":
            self.answer(HTTPStatus.OK, generate_latest(), CONTENT_TYPE_LATEST)
            return
        segment = path.strip("/").split("/", 1)[0]
        route = self.routes.get((method, segment))
        if route is None:
            self.answer(HTTPStatus.NOT_FOUND, b'{"error": "no such path"}')
            return
        self._measure(method, f"/{segment}", route)

    def _measure(self, method: str, route: str, handler: str) -> None:
        started = time.monotonic()
        token = context.attach(propagate.extract(dict(self.headers.items())))
        try:
            with self.tracer.start_as_current_span(f"{method} {route}", kind=trace.SpanKind.SERVER) as span:
                try:
                    getattr(self, handler)()
                except RefusedError as error:
                    self.answer(error.status, json.dumps({"error": str(error)}).encode())
                except (BrokenPipeError, ConnectionResetError, TimeoutError):
                    self._status = 499
                    self.close_connection = True
                span.set_attribute("http.response.status_code", self._status)
                if self._status >= 500:
                    span.set_status(trace.StatusCode.ERROR)
        finally:
            context.detach(token)
            self.duration.record(
                time.monotonic() - started,
                {"http.request.method": method, "http.route": route, "http.response.status_code": self._status},
            )


class StackServer(ThreadingHTTPServer):
    """One thread for each connection; a connection whose client has gone is not an error worth a traceback."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 the base class's signature
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            logger.error("request from %s failed", client_address, exc_info=error)


def serve(handler: type[StackHandler], *, port: int) -> None:
    """Serve on the loopback interface until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    server = StackServer(("127.0.0.1", port), handler)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    logger.info("listening on 127.0.0.1:%d", port)
    try:
        server.serve_forever(poll_interval=0.5)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def without_delay(connection: socket.socket) -> None:
    """Send small writes at once."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
