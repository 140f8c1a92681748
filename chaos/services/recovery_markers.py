"""Write markers open loop, and keep a durable account of those that were acknowledged."""

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chaos.domain.recovery_measure import Cadence, Marker

# Enough for every marker of a timeout to hang at once, without a thread for each marker of a long outage.
MAX_IN_FLIGHT = 64

Write = Callable[[int], None]
"""Writes one marker through the client path; returns once it is done, raises when it is not or may not be."""


class MarkerWriter:
    """Sends a marker whenever one is due, whatever became of those before.

    Every line of the account is on disk before the next step: sent before the write, acknowledged after the answer. A
    marker that finds no free thread is noted as failed, never left out.
    """

    def __init__(self, write: Write, cadence: Cadence, *, account: Path, on_close: Callable[[], None] | None = None):
        self._write = write
        self._cadence = cadence
        self._account = os.open(account, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._on_close = on_close
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._markers: dict[int, Marker] = {}
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="marker")
        self._thread = threading.Thread(target=self._run, name="markers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[Marker]:
        """Send no more, wait for the answers that are due, and return every marker."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True)
        if self._on_close is not None:
            self._on_close()
        os.close(self._account)
        return self.markers()

    def markers(self) -> list[Marker]:
        """Return what is known now, in order."""
        with self._lock:
            return [self._markers[number] for number in sorted(self._markers)]

    def last_failure(self) -> float:
        """Return when the last marker that failed was sent; 0 when none has."""
        return max((one.sent for one in self.markers() if one.acknowledged is not True and one.answered), default=0.0)

    def wait_until_sustained(self, *, after: float, seconds: float, give_up_after: float) -> bool:
        """Wait until markers sent after an instant have succeeded for `seconds` without a failure."""
        deadline = time.monotonic() + give_up_after
        while time.monotonic() < deadline:
            good_since: float | None = None
            for one in self.markers():
                if one.sent <= after or one.answered is None:
                    continue
                good_since = (good_since or one.sent) if one.acknowledged else None
            if good_since is not None and time.monotonic() - good_since >= seconds + self._cadence.every:
                return True
            time.sleep(0.05)
        return False

    def _run(self) -> None:
        start, number = time.monotonic(), 0
        while not self._stop.is_set():
            due = start + number * self._cadence.every
            if self._stop.wait(max(due - time.monotonic(), 0.0)):
                return
            number += 1
            with self._lock:
                full = self._in_flight >= MAX_IN_FLIGHT
                self._in_flight += not full
            sent = time.monotonic()
            self._note(Marker(number, sent))
            if full:
                self._note(Marker(number, sent, answered=sent, acknowledged=False))
            else:
                self._pool.submit(self._send, number, sent)

    def _send(self, number: int, sent: float) -> None:
        acknowledged: bool | None = None
        error = ""
        try:
            self._write(number)
            acknowledged = True
        except Exception as failure:  # noqa: BLE001 whatever the client path raises is an answer that is not yes
            error = type(failure).__name__
        answered = time.monotonic()
        if answered - sent > self._cadence.timeout:
            # The client had given up by then: for it, the write was never acknowledged.
            acknowledged = None
        with self._lock:
            self._in_flight -= 1
        self._note(Marker(number, sent, answered=answered, acknowledged=acknowledged), error=error)

    def _note(self, marker: Marker, *, error: str = "") -> None:
        line: dict[str, Any] = {"number": marker.number, "sent": round(marker.sent, 6)}
        if marker.answered is not None:
            line |= {"answered": round(marker.answered, 6), "acknowledged": marker.acknowledged}
        if error:
            line["error"] = error
        os.write(self._account, json.dumps(line).encode() + b"\n")
        if marker.acknowledged:
            os.fsync(self._account)
        with self._lock:
            self._markers[marker.number] = marker
