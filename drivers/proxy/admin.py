"""The proxy's own small HTTP interface on the loopback, for who holds its token: put, look at and take back faults."""

import asyncio
import contextlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.proxy.faults import FaultRefusedError, Faults
from drivers.proxy.relay import Relay

MAX_BODY = 16 * 1024
ASK_SECONDS = 5.0


@dataclass
class Admin:
    """Answers `GET /status`, `PUT /faults/ID` and `DELETE /faults/ID`."""

    relay: Relay
    token: str
    about: dict[str, Any]
    clock: Callable[[], float]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            status, body = await asyncio.wait_for(self._answer(reader), ASK_SECONDS)
        except (ValueError, OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, body = 400, {"error": "not a request"}
        raw = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Refused'}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(raw)}\r\nConnection: close\r\n\r\n".encode() + raw)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.split("\r\n")
        method, path, _ = line.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
        if not hmac.compare_digest(headers.get("authorization", "").encode(), f"Bearer {self.token}".encode()):
            return 401, {"error": "the token is wrong"}
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY:
            return 413, {"error": "the body is too large"}
        body = json.loads(await reader.readexactly(length)) if length else {}
        return self._do(method, path, body)

    def _do(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        faults: Faults = self.relay.faults
        if (method, path) == ("GET", "/status"):
            now = self.clock()
            active = [{**one.described(now), "hits": faults.hits[name]} for name, one in faults.active().items()]
            return 200, {**self.about, "open_connections": self.relay.open_connections, "faults": active}
        prefix, _, identifier = path.rpartition("/")
        if prefix != "/faults" or not identifier:
            return 404, {"error": "no such path"}
        if method == "DELETE":
            return 200, {"removed": faults.remove(identifier)}
        if method != "PUT" or not isinstance(body, dict):
            return 405, {"error": "PUT a JSON object, or DELETE"}
        return self._put(identifier, body)

    def _put(self, identifier: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("kind") == "error_rate" and not self.relay.http:
            return 409, {"error": "this proxy carries plain TCP; start it with --http for an error rate"}
        try:
            fault = self.relay.faults.add(identifier, body)
        except FaultRefusedError as error:
            return 409, {"error": str(error)}
        if fault.kind == "reset":
            self.relay.reset_open()
        return 200, fault.described(self.clock())
