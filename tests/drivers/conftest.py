import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from drivers.services.proxies import find_proxy


class EchoHandler(BaseHTTPRequestHandler):
    """Answers every request with what it was asked, and remembers it."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]
    body = b"hello"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.asked.append(
            {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body}
        )
        status = int(self.path.rsplit("/", 1)[-1]) if self.path.startswith("/status/") else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 the base class's names

    def log_message(self, *_: Any) -> None: ...


class Server:
    """A real HTTP server on a free port of the loopback."""

    def __init__(self, body: bytes = b"hello") -> None:
        self.asked: list[dict[str, Any]] = []
        handler = type("Handler", (EchoHandler,), {"asked": self.asked, "body": body})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def quiet(self) -> None:
        """Say nothing of clients that reset."""
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture
def start_proxy(settings: Any, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    settings.STATE_DIR = tmp_path
    processes: list[subprocess.Popen[bytes]] = []

    def start(upstream: int, *, name: str = "front", http: bool = True) -> dict[str, Any]:
        control = tmp_path / "proxies" / f"{name}.json"
        control.unlink(missing_ok=True)
        command = [sys.executable, "-m", "drivers.proxy", "--listen", "0", "--upstream", f"127.0.0.1:{upstream}"]
        process = subprocess.Popen([*command, "--control", str(control), *(["--http"] if http else [])])
        processes.append(process)
        wait_for(control.exists)
        found = find_proxy(name)
        assert found["pid"] == process.pid
        return {**found, "port": int(found["listen"].rpartition(":")[2]), "process": process}

    yield start
    for process in processes:
        process.kill()
        process.wait(10)


def wait_for(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.02)
