"""Processes of sites of tests, forked from one that has loaded Django and the site's modules.

Each has a process, environment and settings of its own, as if it had been started afresh, for a tenth of the time: it
can be killed, waited for and talked to. Where the start itself is the point, a test starts one.
"""

import atexit
import fcntl
import importlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import django
import psycopg
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connections
from django.test import signals
from django.urls import resolve

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "assay.sqlite3"
NOTHING = subprocess.DEVNULL
# Where all processes of a parallel run keep what they share; told by the session's fixture.
shared: dict[str, Path] = {}


# --- for tests


class Forked:
    """A process, as `subprocess.Popen` describes one."""

    def __init__(self, order: dict[str, Any], *, stdin: int | None, stdout: int | None, stderr: int | None) -> None:
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        theirs: list[int] = []
        for number, given in ((0, stdin), (1, stdout), (2, stderr)):
            if given == subprocess.PIPE and number < 2:
                read, write = os.pipe()
                theirs.append(write if number else read)
                if number:
                    self.stdout = os.fdopen(read)
                else:
                    self.stdin = os.fdopen(write, "w")
            elif given == NOTHING or (given is None and number == 0):
                theirs.append(os.open(os.devnull, os.O_RDWR))
            else:
                theirs.append(os.dup(given or number))
        self._status, told = os.pipe()
        self._told = b""
        parent().send(order, [*theirs, told])
        for one in (*theirs, told):
            os.close(one)
        self.pid = int(self._line(300) or 0)  # the first one waits until all is loaded
        assert self.pid, "the parent of forked processes has gone"

    def _line(self, timeout: float | None) -> str:
        """Return the next number that the parent tells of this process; nothing when there is none in time."""
        while b"\n" not in self._told:
            if not select.select([self._status], [], [], timeout)[0]:
                return ""
            more = os.read(self._status, 20)
            if not more:
                return ""
            self._told += more
        line, _, self._told = self._told.partition(b"\n")
        return line.decode()

    def poll(self) -> int | None:
        if self.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            said = self._line(timeout)
            if not said:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(said)
            os.close(self._status)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def communicate(self, timeout: float = 300) -> tuple[str, None]:
        """Close its input, read what it says to the end, and wait; one that takes too long is killed."""
        too_long = threading.Timer(timeout, self.kill)
        too_long.start()
        try:
            if self.stdin:
                self.stdin.close()
            said = ""
            if self.stdout:
                said = self.stdout.read()
                self.stdout.close()
            self.wait(timeout)
        finally:
            too_long.cancel()
        return said, None


def fork(
    code: str,
    *arguments: object,
    environment: dict[str, str],
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Forked:
    """Start a process that does `code`: `manage.py`, `-c` with a program as argument, or a module with a `main()`."""
    order = {"code": code, "arguments": [str(one) for one in arguments], "environment": environment}
    return Forked(order, stdin=stdin, stdout=stdout, stderr=stderr)


def do(code: str, *arguments: object, environment: dict[str, str], timeout: float = 300) -> int:
    """Do it in a process and return its exit code."""
    process = fork(code, *arguments, environment=environment)
    try:
        return process.wait(timeout)
    finally:
        process.kill()


class Parent:
    """The process from which the others are forked."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="assay-forks-")
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        environment = {**os.environ, "ASSAY_STATE_DIR": self._folder, "DATABASE_URL": "", "BROKER_URL": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", str(theirs.fileno())],
            cwd=ROOT,
            env={**environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        atexit.register(self.end)

    def send(self, order: dict[str, Any], files: list[int]) -> None:
        with self._lock:
            socket.send_fds(self._orders, [json.dumps(order).encode()], files)

    def end(self) -> None:
        self._orders.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@cache
def parent() -> Parent:
    return Parent()


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """Make something once in a parallel run; returns its path."""
    path = shared["folder"] / name
    with (shared["folder"] / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


def _migrate(state: Path, database_url: str = "") -> None:
    environment = {**os.environ, "ASSAY_STATE_DIR": str(state), "DATABASE_URL": database_url, "BROKER_URL": ""}
    assert do("manage.py", "migrate", "--verbosity=0", environment=environment) == 0


@cache
def empty_tables() -> Path:
    """A SQLite database with the site's tables, migrated, and nothing in them."""

    def make(path: Path) -> None:
        state = shared["folder"] / "empty-site"
        _migrate(state)
        (state / DATABASE).rename(path)

    return _once(DATABASE, make)


def make_tables(state: Path, name: str = DATABASE) -> None:
    """Give a site its tables in SQLite."""
    state.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(empty_tables(), state / name)


@cache
def empty_database(server_url: str) -> str:
    """Make a database with the site's tables, migrated, on a PostgreSQL server; returns its name."""
    base, name = urlsplit(server_url), "empty_site"

    def make(path: Path) -> None:
        with psycopg.connect(base._replace(path="/postgres").geturl(), autocommit=True) as server:
            # One that was left by a run on the same server may be half made.
            server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {name}")
        _migrate(shared["folder"] / "empty-site", base._replace(path=f"/{name}").geturl())
        path.touch()

    _once(f"{name}-{base.port}", make)
    return name


def make_database(server_url: str) -> str:
    """Make a copy of that database; returns its address."""
    base, name, template = urlsplit(server_url), f"scratch_{secrets.token_hex(6)}", empty_database(server_url)
    with psycopg.connect(base._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return base._replace(path=f"/{name}").geturl()


def drop_database(url: str) -> None:
    base = urlsplit(url)
    with psycopg.connect(base._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f"DROP DATABASE {base.path.strip('/')} WITH (FORCE)")


# --- in the process that is forked from


def main() -> None:
    """Fork a process for each order, and tell how each ended, until nobody orders any more."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    django.setup()
    resolve("/healthz")
    heard, hears = os.pipe()
    for end in (heard, hears):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(hears)
    running: dict[int, int] = {}
    watched: list[Any] = [orders, heard]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if heard in ready:
            os.read(heard, 100)
        _tell_who_ended(running)
        if orders not in ready:
            continue
        text, files, _, _ = socket.recv_fds(orders, 1_000_000, 4)
        if not text:
            break
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (orders.detach(), heard, hears, files[3], *running.values()):
                os.close(one)
            _do(json.loads(text), files[:3])
        os.write(files[3], f"{pid}\n".encode())
        running[pid] = files[3]
        for one in files[:3]:
            os.close(one)


def _tell_who_ended(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        told = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(told)


def _do(order: dict[str, Any], files: list[int]) -> None:
    code = 1
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        become({"DJANGO_SETTINGS_MODULE": "config.settings", **order["environment"]})
        sys.argv = [order["code"], *order["arguments"]]
        if order["code"] == "manage.py":
            execute_from_command_line(sys.argv)
        elif order["code"] == "-c":
            exec(order["arguments"][0], {"__name__": "__main__"})
        else:
            importlib.import_module(order["code"]).main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 as the interpreter does at the end of a process
        traceback.print_exc()
    finally:
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def become(environment: dict[str, str]) -> None:
    """Make this process what it would be if it had been started with an environment."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    importlib.reload(sys.modules["config.settings"])
    before = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
    # What a first look at a setting does.
    settings._setup()  # type: ignore[misc]
    for name, value in before.items():
        now = getattr(settings, name, None)
        if now != value and name != "DATABASES":
            signals.setting_changed.send(sender=settings.__class__, setting=name, value=now, enter=True)
    # Nothing was connected before the fork, so that only the description is known.
    connections.__dict__.pop("settings", None)
    connections._settings = None  # type: ignore[attr-defined]
    for alias in [one.alias for one in connections.all(initialized_only=True)]:
        del connections[alias]
    _point_the_broker(settings.CELERY_BROKER_URL)


def _point_the_broker(url: str) -> None:
    from config.celery import app
    from core.broker import SCHEME, transport_options

    app.conf.update(broker_url=url, broker_read_url=url, broker_write_url=url)
    if url.startswith(f"{SCHEME}:"):
        app.conf.update(broker_transport_options=transport_options(Path(unquote(urlsplit(url).path))))


if __name__ == "__main__":
    main()
