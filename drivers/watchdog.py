"""`python -m drivers.watchdog`: undo a fault when its time is up, whatever else is dead by then.

It leads a session of its own, holds no connection while it waits, and is told everything in its argument.
"""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from core.detached import start_detached

GRACE_SECONDS = 2.0
ROOT = Path(__file__).resolve().parent.parent


def start_watchdog(*, ttl: timedelta, action: str, arguments: dict[str, Any], output: dict[str, Any]) -> dict[str, Any]:
    """Start a watchdog and return its identity, for `cancel_watchdog`."""
    order = json.dumps({"seconds": ttl.total_seconds(), "action": action, "arguments": arguments, "output": output})
    pid = start_detached([sys.executable, "-m", "drivers.watchdog", order], folder=ROOT)
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def cancel_watchdog(identity: dict[str, Any]) -> None:
    """End a watchdog that is not needed any more; one that has ended is fine."""
    try:
        process = psutil.Process(identity["pid"])
        if abs(process.create_time() - identity["started"]) < 0.05:
            process.kill()
            process.wait(GRACE_SECONDS)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired, KeyError):
        return


def main() -> None:
    """Wait, then undo."""
    order = json.loads(sys.argv[1])
    time.sleep(order["seconds"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django  # noqa: PLC0415 a watchdog that only waits must cost nothing

    django.setup()
    from drivers.services import undo_action  # noqa: PLC0415

    result = undo_action(order["action"], order["arguments"], order["output"])
    sys.exit(0 if result.ok else 1)


if __name__ == "__main__":
    main()
