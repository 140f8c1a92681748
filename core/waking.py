"""Wake-ups, few of them: one for each queue at a time, however many commits ask for it.

A wake-up costs a message, and a worker that reads it. A thousand commits a second must not be a thousand of them, and
need not: a worker that is woken does all that is due. So the first wake-up of a queue leaves at once, and those that
follow within `APART_SECONDS` leave together at the end of that time.
"""

import os
import threading
import time
from collections.abc import Callable

APART_SECONDS = 0.2


class WakeUps:
    """Passes wake-ups on to `send`, for each name at most one in `apart` seconds, and the last one always."""

    def __init__(self, send: Callable[[str], None], *, apart: float = APART_SECONDS) -> None:
        self._send = send
        self._apart = apart
        self._forget()
        # A thread does not survive a fork, and a lock that it held would stay held.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._last: dict[str, float] = {}
        self._later: dict[str, None] = {}
        self._thread: threading.Thread | None = None

    def ask(self, name: str) -> None:
        """Wake a queue now, or in a moment together with others who ask."""
        with self._lock:
            now = time.monotonic()
            at_once = now - self._last.get(name, float("-inf")) >= self._apart
            if at_once:
                self._last[name] = now
            else:
                self._later[name] = None
                self._ensure_running()
        if at_once:
            self._send(name)
        else:
            self._some.set()

    def _ensure_running(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(self._apart)
            self._some.clear()
            with self._lock:
                names = tuple(self._later)
                self._later.clear()
                self._last.update(dict.fromkeys(names, time.monotonic()))
            for name in names:
                self._send(name)
