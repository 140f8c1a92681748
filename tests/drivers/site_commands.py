"""`python -m tests.drivers.site_commands`: does commands of `manage.py` for sites of tests, each in a fork of its own.

Django and the site's modules are loaded once; each command then has a process, environment and settings of its own, as
if it had been started afresh, for a hundredth of the time. Where the start itself is the point, a test starts one.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import django
from django.core.management import execute_from_command_line
from django.db import connections

from tests.forking import become


def main() -> None:
    """Answer orders, one a line, with the exit code of each."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _do(order)
        answers.write(f"{_end_of(pid, kill_after=order['kill_after'], once=order['once'])}\n")
        answers.flush()


def _end_of(pid: int, *, kill_after: float | None, once: str) -> int:
    """Wait for a command, or kill it and all that it has started when its time is up; returns its exit code.

    With `once`, its time counts from when something of that name is there: folder and pattern, as `/tmp/site/*.json`.
    """
    deadline = None if kill_after is None else time.monotonic() + kill_after
    folder, _, pattern = once.rpartition("/")
    while deadline is not None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if once and not any(Path(folder).glob(pattern)):
            deadline = time.monotonic() + (kill_after or 0.0)
        elif time.monotonic() >= deadline:
            os.killpg(pid, signal.SIGKILL)
            break
        time.sleep(0.0005)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _do(order: dict[str, Any]) -> None:
    code = 1
    try:
        os.setsid()
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        become({"DJANGO_SETTINGS_MODULE": "config.settings", **order["environment"]})
        sys.argv = ["manage.py", *order["arguments"]]
        execute_from_command_line(sys.argv)
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


if __name__ == "__main__":
    main()
