"""What stands between a rehearsal's clients and its servers: HAProxy, and a replication link with a delay."""

import asyncio
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from chaos.services.recovery_context import DrillError
from drivers.services.site_postgresql import free_port, wait_until

CONFIG = """
global
  stats socket {socket} mode 600 level admin
defaults
  mode tcp
  timeout connect 500ms
  timeout client 1h
  timeout server 1h
  retries 0
listen front
  bind 127.0.0.1:{port}
{servers}
"""


class Front:
    """HAProxy with one address for the clients; one server takes them at a time, so that two never write."""

    def __init__(self, folder: Path, servers: dict[str, int]) -> None:
        self.port = free_port()
        self._folder = folder
        self._socket = folder / "haproxy.sock"
        self._servers = servers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, active: str) -> None:
        """Run it with one server open. Raises DrillError."""
        binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            raise DrillError("HAProxy is not installed here")
        lines = [
            f"  server {name} 127.0.0.1:{port}{'' if name == active else ' disabled'}"
            for name, port in self._servers.items()
        ]
        config = self._folder / "haproxy.cfg"
        config.write_text(CONFIG.format(socket=self._socket, port=self.port, servers="\n".join(lines)), "utf-8")
        with (self._folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 a fixed program
                [binary, "-db", "-f", str(config)], stdout=log, stderr=log, start_new_session=True
            )
        if not wait_until(self._socket.exists, seconds=10):
            raise DrillError("HAProxy did not start")

    def switch(self, *, away_from: str, to: str) -> None:
        """Close one server, cutting its sessions, then open the other."""
        self.close_server(away_from)
        self.open_server(to)

    def close_server(self, name: str) -> None:
        """Let no client to a server, and cut those who are there."""
        self._say(f"set server front/{name} state maint")
        self._say(f"shutdown sessions server front/{name}")

    def open_server(self, name: str) -> None:
        """Let clients to a server."""
        self._say(f"set server front/{name} state ready")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def _say(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self._socket))
            link.sendall(f"{command}\n".encode())
            link.shutdown(socket.SHUT_WR)
            answer = b""
            while part := link.recv(4096):
                answer += part
        said = answer.decode("utf-8", "replace").strip()
        if said and "o such" in said:
            raise DrillError(f"HAProxy refused {command!r}: {said}")
        return said


class DelayedLink:
    """A loopback port whose answers come later by a fixed time: a long line, not a thin one."""

    def __init__(self, upstream: int, seconds: float) -> None:
        self.port = 0
        self._upstream = upstream
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delayed-link", daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise DrillError("the delayed link did not start")

    def close(self) -> None:
        """Cut every connection; what is on the line is lost."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self._loop), return_exceptions=True))
        self._loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, back_writer, delay=0.0))
                group.create_task(self._copy(back_reader, writer, delay=self._seconds))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, back_writer):
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delay: float) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            while data := await reader.read(65536):
                line.put_nowait((time.monotonic() + delay, data))
            line.put_nowait((time.monotonic() + delay, b""))
