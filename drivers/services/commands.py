"""Run programs of this machine with lists of arguments, never through a shell, and always with an end."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from core.detached import start_detached
from drivers.services.processes import MARK_VARIABLE

TIMEOUT_SECONDS = 15.0


class CommandError(RuntimeError):
    """A program said no, or did not answer in time."""


def find_program(name: str) -> str:
    """Return where a program is, or an empty text; also where only root's path leads."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path) or ""


def run_program(command: Sequence[str], *, stdin: str = "") -> str:
    """Run a program and return what it printed. Raises CommandError with what it said."""
    try:
        done = subprocess.run(  # noqa: S603 a list of arguments, each checked where it comes in
            [find_program(command[0]) or command[0], *command[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise CommandError(f"{command[0]}: {(done.stderr or done.stdout).strip()[:500]}")
    return done.stdout


def start_marked(command: Sequence[str], *, mark: str, folder: Path) -> int:
    """Start a program in a session of its own, marked so that it is found again; returns its process id."""
    return start_detached([find_program("env"), f"{MARK_VARIABLE}={mark}", *command], folder=folder)
