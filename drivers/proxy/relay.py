"""Carries connections to the server behind, through whatever faults are active."""

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field

from drivers.proxy.faults import Faults

CHUNK = 16 * 1024
QUEUED_CHUNKS = 64
MAX_HEAD = 64 * 1024
CONNECT_SECONDS = 10.0
THROTTLED_SLICE_SECONDS = 0.05
LINGER_RESET = struct.pack("ii", 1, 0)
NO_BODY_REASON = {502: "Bad Gateway", 503: "Service Unavailable", 500: "Internal Server Error"}


@dataclass(frozen=True)
class Upstream:
    """The server behind."""

    host: str
    port: int


@dataclass
class Relay:
    """Accepts connections and carries each to the server behind. `http` also reads where requests begin."""

    faults: Faults
    upstream: Upstream
    http: bool = False
    open_connections: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection to its end."""
        self.open_connections += 1
        self._writers.add(writer)
        try:
            if self.faults.resets():
                reset(writer)
                return
            await self._carry(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            reset(writer)
        finally:
            self.open_connections -= 1
            self._writers.discard(writer)
            await _closed(writer)

    def reset_open(self) -> None:
        """Reset connections that are open now, each with the chance that the active faults give."""
        for writer in list(self._writers):
            if self.faults.resets():
                reset(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.wait_for(
            asyncio.open_connection(self.upstream.host, self.upstream.port), CONNECT_SECONDS
        )
        try:
            answers = asyncio.create_task(self._answers(up_reader, writer))
            if self.http:
                requests = asyncio.create_task(self._requests(reader, up_writer, writer))
            else:
                requests = asyncio.create_task(self._raw(reader, up_writer))
            try:
                # Half-closed is not closed: a client may end its side and still read the answer.
                await asyncio.wait({answers, requests}, return_when=asyncio.FIRST_COMPLETED)
                if not answers.done() and requests.exception() is None and not requests.result():
                    await answers
            finally:
                for task in (answers, requests):
                    task.cancel()
                outcomes = await asyncio.gather(answers, requests, return_exceptions=True)
            if any(isinstance(outcome, ConnectionResetError) for outcome in outcomes):
                reset(writer)
        finally:
            await _closed(up_writer)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the server's bytes back. A delay shifts each piece in time; it does not thin the stream."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)

        async def read() -> None:
            while True:
                data = await reader.read(CHUNK)
                await queue.put((time.monotonic() + self.faults.delay_seconds(), data))
                if not data:
                    return

        reading = asyncio.create_task(read())
        try:
            while True:
                data = await self._next(queue, reading)
                if not data:
                    return
                await self._write(writer, data)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    @staticmethod
    async def _next(queue: "asyncio.Queue[tuple[float, bytes]]", reading: "asyncio.Task[None]") -> bytes:
        taking = asyncio.create_task(queue.get())
        try:
            await asyncio.wait({taking, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done() and queue.empty():
                reading.result()  # raises what ended the reading
                return b""
            due, data = await taking
        finally:
            taking.cancel()
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        return data

    async def _raw(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Carry the client's bytes. Returns whether the connection is over."""
        while data := await reader.read(CHUNK):
            await self._write(writer, data)
        if writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()
        return False

    async def _requests(
        self, reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> bool:
        """Carry HTTP/1 requests one by one; a request that is struck never reaches the server behind."""
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as end:
                await self._write(up_writer, end.partial)
                return await self._raw(reader, up_writer)
            except asyncio.LimitOverrunError:
                return await self._raw(reader, up_writer)  # not a request as this proxy knows them
            if (status := self.faults.error_status()) is not None:
                await self._answer_error(writer, status)
                return True
            headers = _headers(head)
            await self._write(up_writer, head)
            if "upgrade" in headers or head.startswith(b"CONNECT "):
                return await self._raw(reader, up_writer)
            if "chunked" in headers.get("transfer-encoding", ""):
                await self._chunked(reader, up_writer)
            else:
                await self._body(reader, up_writer, int(headers.get("content-length", "0") or 0))

    async def _body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
        while length > 0:
            data = await reader.read(min(CHUNK, length))
            if not data:
                raise ConnectionAbortedError("the request ended early")
            length -= len(data)
            await self._write(writer, data)

    async def _chunked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await reader.readline()
            await self._write(writer, line)
            size = int(line.split(b";")[0], 16)
            if size:
                await self._body(reader, writer, size + 2)
                continue
            while (trailer := await reader.readline()) not in {b"\r\n", b"\n", b""}:
                await self._write(writer, trailer)
            await self._write(writer, b"\r\n")
            return

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Write, in slices as small as a throttle asks for."""
        while data:
            limit = self.faults.bytes_per_second()
            if limit is None:
                writer.write(data)
                await writer.drain()
                return
            size = max(int(limit * THROTTLED_SLICE_SECONDS), 1)
            part, data = data[:size], data[size:]
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(len(part) / limit)

    @staticmethod
    async def _answer_error(writer: asyncio.StreamWriter, status: int) -> None:
        body = b"injected by the fault proxy\n"
        reason = NO_BODY_REASON.get(status, "Injected")
        writer.write(
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            "X-Fault-Injected: yes\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST, as a crashed peer or a firewall does."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    writer.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 5)


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        found[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip().lower()
    return found
