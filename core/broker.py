"""The embedded broker: kombu's file-system transport, made safe for readers and writers in several processes.

kombu writes a message under its final name, so that a reader that polls often parses half a message and the worker
exits. Here a message appears by an atomic rename, and so do the tables of exchanges.
"""

import fcntl
import os
import threading
import uuid
from json import dumps, loads
from pathlib import Path
from time import monotonic
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual

SCHEME = "atomicfile"
POLLING_SECONDS = 0.05


class Channel(filesystem.Channel):
    """A channel whose files appear whole or not at all."""

    # A process remembers that a queue is bound before the table says so: another thread must wait for the table.
    _binding = threading.Lock()

    def queue_bind(self, *args: Any, **kwargs: Any) -> None:
        with self._binding:
            super().queue_bind(*args, **kwargs)

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, payload)

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None) -> None:
        file: Path = self._exchange_file(exchange)  # type: ignore[attr-defined]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.with_name(f".{file.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bound = [list(entry) for entry in self.get_table(exchange)]
            entry = [routing_key or "", pattern or "", queue or ""]
            if entry not in bound:
                _write_whole(file, [entry, *bound])

    def get_table(self, exchange: str) -> list[Any]:
        try:
            text = self._exchange_file(exchange).read_text("utf-8")  # type: ignore[attr-defined]
        except FileNotFoundError:
            return []
        return [filesystem.exchange_queue_t(*entry) for entry in loads(text)]


class Transport(filesystem.Transport):
    """kombu transport under the scheme `atomicfile://`."""

    Channel = Channel
    # kombu keeps one state for a process; another site in the same process (a test) must not see it.
    global_state = virtual.BrokerState()
    polling_interval = POLLING_SECONDS
    driver_type = SCHEME
    driver_name = SCHEME

    def driver_version(self) -> str:
        return "1"


def register_transport() -> None:
    """Teach kombu the scheme."""
    TRANSPORT_ALIASES[SCHEME] = "core.broker:Transport"


def remote_options(scheme: str) -> dict[str, Any]:
    """Return kombu's options for a broker elsewhere: who publishes waits a moment for it, not for ever.

    kombu's defaults try to connect for six seconds, and wait without end for a server that is connected and hangs.
    """
    options: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
    if scheme.startswith("redis"):
        # Above the second for which a worker waits for messages in one read.
        return {**options, "socket_connect_timeout": 1, "socket_timeout": 5, "socket_keepalive": True}
    if scheme.startswith("amqp"):
        return {**options, "write_timeout": 5}
    return options


def transport_options(folder: Path) -> dict[str, Any]:
    """Return kombu's options for a broker in `folder`, which is made for this user alone."""
    for name in ("messages", "control", "processing"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "processed_folder": str(folder / "processing"),
        "store_processed": False,
        "polling_interval": POLLING_SECONDS,
    }


def _write_whole(path: Path, value: Any) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}.draft")
    draft.write_text(dumps(value), "utf-8")
    draft.replace(path)
