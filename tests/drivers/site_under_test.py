"""A site of a test's own, driven by its commands."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.forking import make_tables

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 600


class Commander:
    """The process that does commands in forks of itself, started when the first is asked for."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="assay-commands-"))
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.drivers.site_commands"],
            cwd=ROOT,
            env={**_clean(), "ASSAY_STATE_DIR": str(self.folder / "state"), "ASSAY_LOG_LEVEL": "ERROR"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.end)

    def do(
        self, arguments: list[str], environment: dict[str, str], *, kill_after: float | None = None, once: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Do a command and return what it said; one that takes too long ends the commander, and the test.

        With `kill_after`, it is killed (SIGKILL) after so many seconds, its code is then -9. With `once` they count
        from when something of that name is there.
        """
        paths = {name: str(self.folder / name) for name in ("stdout", "stderr")}
        order = {"arguments": arguments, "environment": environment, "kill_after": kill_after, "once": once, **paths}
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            too_long = threading.Timer(COMMAND_SECONDS, self._process.kill)
            too_long.start()
            try:
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
                code = int(self._process.stdout.readline())
            finally:
                too_long.cancel()
            said = [Path(path).read_text("utf-8") for path in paths.values()]
        return subprocess.CompletedProcess(arguments, code, *said)

    def end(self) -> None:
        """End the process and remove what it kept."""
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def commander() -> Commander:
    return Commander()


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"SECRET_KEY", "BROKER_URL"}}


@dataclass
class Site:
    """A site with a state folder of its own."""

    state: Path
    database_url: str = ""
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **_clean(),
            "ASSAY_STATE_DIR": str(self.state),
            "DATABASE_URL": self.database_url,
            "ASSAY_LOG_LEVEL": "ERROR",
            **self.more,
        }

    def command(self, *arguments: object) -> list[str]:
        """The command as a process of its own, where that is the point."""
        return [sys.executable, "manage.py", *map(str, arguments)]

    def make_tables(self) -> None:
        """Make the site's tables; on SQLite by a copy of empty ones."""
        if self.database_url:
            self.ask("migrate", "--verbosity=0")
        else:
            make_tables(self.state)

    def ask(self, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = commander().do([*map(str, arguments)], self.environment)
        assert done.returncode == expect, f"{arguments} exited {done.returncode}: {done.stdout} {done.stderr}"
        return done

    def killed(self, *arguments: object, after: float, once: str = "") -> bool:
        """Do a command and kill it after so many seconds; returns whether it was killed in the midst."""
        done = commander().do([*map(str, arguments)], self.environment, kill_after=after, once=once)
        return done.returncode == -signal.SIGKILL

    def code(self, *arguments: object) -> tuple[int, str]:
        """Do a command; returns its exit code and what it complained of."""
        done = commander().do([*map(str, arguments)], self.environment)
        return done.returncode, done.stderr

    def json(self, *arguments: object, expect: int = 0) -> Any:
        return json.loads(self.ask(*arguments, "--format", "json", expect=expect).stdout)
