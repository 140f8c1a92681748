"""Private brokers for a storm: each on free loopback ports, with all that it keeps in one folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

RABBITMQ = sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
START_SECONDS = 120


class Broker(Protocol):
    """A broker that can be killed and started again under the same address."""

    url: str

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def remove(self) -> None: ...


def free_ports(count: int) -> list[int]:
    """Return so many loopback ports on which nobody listens now."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return once somebody listens on the port."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        time.sleep(0.1)


def kill_group(process: "subprocess.Popen[bytes] | None") -> None:
    """Kill a process with its group."""
    if process is None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


class Redis:
    """A Redis that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        (self._port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("redis-server") is not None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for_port(self._port, self._process)

    def kill(self) -> None:
        kill_group(self._process)

    def remove(self) -> None:
        self.kill()


class RabbitMQ:
    """A RabbitMQ node with a name, a cookie and a port mapper of its own: no other node on this machine hears of it."""

    def __init__(self, folder: Path) -> None:
        port, self._mapper_port, distribution = free_ports(3)
        self._port = port
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        folder.mkdir(parents=True, exist_ok=True)
        # Not RABBITMQ_MNESIA_DIR: the node makes a folder of its name in the base itself.
        (folder / "enabled_plugins").write_text("[].\n")
        cookie = folder / ".erlang.cookie"
        cookie.write_text(f"storm{os.getpid()}{port}")
        cookie.chmod(0o400)
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"storm{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self._folder = folder
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_installed() -> bool:
        return bool(RABBITMQ) and shutil.which("epmd") is not None

    def start(self) -> None:
        if self._mapper is None:
            # Started here rather than by the node, which would leave it behind.
            self._mapper = self._run("epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1")
            wait_for_port(self._mapper_port, self._mapper)
        self._process = self._run(str(RABBITMQ[-1]))
        wait_for_port(self._port, self._process)

    def _run(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "said").open("ab") as said:
            return subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdout=said, stderr=said, start_new_session=True
            )

    def kill(self) -> None:
        kill_group(self._process)

    def remove(self) -> None:
        self.kill()
        kill_group(self._mapper)
