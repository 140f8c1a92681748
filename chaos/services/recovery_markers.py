"""Write markers open loop, and keep a durable account of those that were acknowledged."""

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Any

from chaos.domain.recovery_measure import Cadence, Marker, sustained_from
from chaos.services.recovery_context import DrillError

# Enough for every marker of a timeout to hang at once, without a thread for each marker of a long outage.
MAX_IN_FLIGHT = 64

Write = Callable[[int], None]
"""Writes one marker through the client path; returns once it is done, raises when it is not or may not be."""


class MarkerWriter:
    """Sends a marker whenever one is due, whatever became of those before.

    Every line of the account is on disk before the next step: sent before the write, acknowledged after the answer. A
    marker that finds no free thread is noted as failed, never left out. Whether an answer acknowledges is judged by the
    instants of sending and answering alone.
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
        self._closed = False
        self._broken = ""
        self._pool = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="marker")
        self._thread = threading.Thread(target=self._run, name="markers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[Marker]:
        """Send no more, wait for answers for as long as the client would, and return every marker.

        A write that hangs longer is left unanswered: what it says afterwards is heard by nobody. Raises DrillError when
        a line of the account could not be written: half an account is not read as a whole one.
        """
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + self._cadence.timeout
        while self._waiting() and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._lock:
            self._closed = True
            os.close(self._account)
        if self._on_close is not None:
            self._on_close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._broken:
            raise DrillError(f"the account of acknowledged writes could not be kept: {self._broken}")
        return self.markers()

    def markers(self) -> list[Marker]:
        """Return what is known now, in order."""
        with self._lock:
            return [self._markers[number] for number in sorted(self._markers)]

    def wait_for_acknowledged(self, count: int, *, give_up_after: float) -> bool:
        """Wait until so many more markers have been acknowledged than at the call."""
        goal = sum(one.acknowledged is True for one in self.markers()) + count
        deadline = time.monotonic() + give_up_after
        while time.monotonic() < deadline:
            if sum(one.acknowledged is True for one in self.markers()) >= goal:
                return True
            time.sleep(0.02)
        return False

    def wait_until_sustained(self, *, after: float, seconds: float, give_up_after: float) -> bool:
        """Wait until markers sent after an instant have succeeded for `seconds` without a failure."""
        deadline = time.monotonic() + give_up_after
        while time.monotonic() < deadline:
            # As it is judged in the end, over those whose answers are known in one piece.
            known = list(takewhile(lambda one: one.answered is not None, self.markers()))
            if sustained_from(known, after=after, settle=seconds) is not None:
                return True
            time.sleep(0.05)
        return False

    def _waiting(self) -> bool:
        with self._lock:
            return self._in_flight > 0

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
        if not self._cadence.counts(sent=sent, answered=answered):
            acknowledged = None
        self._note(Marker(number, sent, answered=answered, acknowledged=acknowledged), error=error)
        with self._lock:
            self._in_flight -= 1

    def _note(self, marker: Marker, *, error: str = "") -> None:
        line: dict[str, Any] = {"number": marker.number, "sent": round(marker.sent, 6)}
        if marker.answered is not None:
            line |= {"answered": round(marker.answered, 6), "acknowledged": marker.acknowledged}
        if error:
            line["error"] = error
        with self._lock:
            if self._closed:
                return
            self._markers[marker.number] = marker
            try:
                self._keep(json.dumps(line).encode() + b"\n", at_once=bool(marker.acknowledged))
            except OSError as refused:
                # The clients are still written to, so that nothing looks like an outage that is none; `stop` says it.
                self._broken = self._broken or str(refused)

    def _keep(self, line: bytes, *, at_once: bool) -> None:
        """Write a line of the account, whole. Raises OSError."""
        written = os.write(self._account, line)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if at_once:
            os.fsync(self._account)
