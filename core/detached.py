"""Start a process that outlives the one that starts it."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_started: list[subprocess.Popen[bytes]] = []


def start_detached(command: Sequence[str], *, folder: Path, log: Path | None = None) -> int:
    """Start a command in a session of its own and return its process id.

    No signal to this process's group reaches it, and it does not end when this process does. Those that have ended
    are collected the next time something is started.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if log else os.open(os.devnull, os.O_WRONLY)
    try:
        process = subprocess.Popen(  # noqa: S603 commands come from this program
            command, cwd=folder, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    finally:
        os.close(output)
    _started.append(process)
    return process.pid
