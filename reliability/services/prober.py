"""A prober: one process that runs the turns of one location, and shares them with the others there."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import Min, Q

from core.beats import beat
from core.clock import database_now
from core.holding import site_is_held
from core.leases import StaleFenceError, claim_due, extend
from reliability.domain.probes import Outcome, ProbeSpec
from reliability.models import LocationProbe, Probe, SLOVersion
from reliability.services.probe_requests import send_probe
from reliability.services.probing import AT_ONCE, count_turn, location_probes, spec_of, workers_probes

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=12)
EXTEND_AFTER_SECONDS = 4.0
"""A turn may take 30 s, but a killed prober must not keep its turns from the others for so long."""
LOOK_AGAIN_SECONDS = 0.2
LONGEST_IDLE_SECONDS = 1.0
TROUBLE_SECONDS = 1.0
FINISH_WITHIN_SECONDS = 40.0


@dataclass
class _Turn:
    """A turn that was begun; `outcome` once it has ended."""

    row: Probe | LocationProbe
    spec: ProbeSpec
    started: datetime
    extended: float
    outcome: Outcome | None = None


def _outcome(future: Future[Outcome]) -> Outcome:
    """Return what came of a turn; what nobody foresaw says nothing about the target, and must not end the prober."""
    if error := future.exception():
        logger.error("a probe could not be run", exc_info=error)
        return Outcome(0.0, f"it could not be run: {error}"[:300], sent=False)
    return future.result()


class Prober:
    """Runs what falls due at a location until `stop` is set, and finishes what it has begun. Any number may run.

    Without a location it shares the turns that the site's workers run. A row's claim is what keeps two probers from one
    turn: the fence is asked for again when the turn is counted.
    """

    def __init__(self, location: str, stop: threading.Event) -> None:
        self._location = location
        self._stop = stop
        self._flying: dict[Future[Outcome], _Turn] = {}
        self._ended: list[_Turn] = []
        self._specs: dict[int, ProbeSpec] = {}

    def run(self) -> None:
        """Probe until told to stop. A database that does not answer is asked again; what has ended waits for it."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
            while not self._stop.is_set():
                self._guarded(pool)
            deadline = time.monotonic() + FINISH_WITHIN_SECONDS
            while (self._flying or self._ended) and time.monotonic() < deadline:
                self._guarded(None)

    def _guarded(self, pool: ThreadPoolExecutor | None) -> None:
        try:
            self._round(pool)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the database did not answer: %s", error)
            close_old_connections()
            time.sleep(TROUBLE_SECONDS)

    def _round(self, pool: ThreadPoolExecutor | None) -> None:
        """Begin what is due, where there is room, and count what has ended."""
        if pool is not None:
            beat("prober", location=self._location)
            room = AT_ONCE - len(self._flying)
            if room and not site_is_held():
                self._begin(pool, self._claim(room))
        if self._flying:
            done, _ = wait(self._flying, timeout=LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                turn = self._flying.pop(future)
                turn.outcome = _outcome(future)
                self._ended.append(turn)
            self._keep_claims()
        elif pool is not None and not self._ended:
            self._stop.wait(self._idle_seconds())
        while self._ended:
            turn = self._ended[0]
            if turn.outcome is not None:
                count_turn(turn.row, turn.spec, turn.outcome, turn.started)
            self._ended.pop(0)

    def _claim(self, room: int) -> Sequence[LocationProbe | Probe]:
        if self._location:
            return claim_due(location_probes().filter(location=self._location), lease_for=LEASE, limit=room)
        return claim_due(workers_probes(), lease_for=LEASE, limit=room)

    def _begin(self, pool: ThreadPoolExecutor, rows: Sequence[LocationProbe | Probe]) -> None:
        if not rows:
            return
        unknown = {row.version_id for row in rows} - self._specs.keys()
        for version in SLOVersion.objects.only("indicator").filter(pk__in=unknown):
            self._specs[version.pk] = spec_of(version.indicator)
        started = database_now()
        for row in rows:
            spec = self._specs.get(row.version_id)
            if spec is not None:
                future = pool.submit(send_probe, spec, allow_private=row.allow_private)
                self._flying[future] = _Turn(row, spec, started, time.monotonic())

    def _keep_claims(self) -> None:
        """Claim on what takes long; what somebody else has claimed since is dropped when it ends."""
        now = time.monotonic()
        for turn in self._flying.values():
            if now - turn.extended >= EXTEND_AFTER_SECONDS:
                turn.extended = now
                try:
                    extend(turn.row, lease_for=LEASE)
                except StaleFenceError:
                    logger.info("%s: another prober has the turn", turn.row)

    def _idle_seconds(self) -> float:
        """Return how long nothing falls due here, at most a second: something may be declared meanwhile."""
        rows = location_probes().filter(location=self._location) if self._location else workers_probes()
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=database_now())
        due_at: datetime | None = rows.filter(free).aggregate(next=Min("due_at"))["next"]
        if due_at is None:
            return LONGEST_IDLE_SECONDS
        return min(max((due_at - database_now()).total_seconds(), 0.02), LONGEST_IDLE_SECONDS)
