"""Run probes when they are due and count each turn once.

A turn is one event. Nothing is sent inside a transaction; the count and the next turn are committed together, so a turn
that a crash interrupted is found again and told as missed.
"""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from core.clock import database_now
from core.leases import StaleFenceError, claim_due, settle
from core.work import wake
from reliability.data import DataState
from reliability.domain.probes import Outcome, ProbeSpec, counted_turn, judged, turns_due
from reliability.models import Probe, SLOVersion
from reliability.services.probe_requests import send_probe
from reliability.services.tallying import add_to_tallies, lock_tallies

QUEUE = "reliability.probe"
LEASE = timedelta(seconds=90)
AT_ONCE = 64
LONGEST_ROUND_SECONDS = 20.0
MOST_MISSED = 1000
"""After a pause this long, all but the first minute of it is unmeasured anyway."""


def start_probing(version: SLOVersion, *, allow_private: bool) -> None:
    """Begin to probe for a version, from now on."""
    now = version.effective_from
    Probe.objects.create(version=version, allow_private=allow_private, begins_at=now, due_at=now)
    wake(QUEUE)


def spec_of(indicator: Mapping[str, Any]) -> ProbeSpec:
    """Return what an indicator of probes asks for."""
    return ProbeSpec.of(indicator["total"], indicator["good"])


def probe(row: Probe) -> None:
    """Run the turn of a claimed row, and of every other that falls due meanwhile, side by side.

    A target that hangs holds its own turn up and no other.
    """
    until = time.monotonic() + LONGEST_ROUND_SECONDS
    flying: dict[Future[Outcome], tuple[Probe, ProbeSpec, datetime]] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        fresh: Iterable[Probe] = [row]
        while True:
            for one in fresh:
                started = database_now()
                spec = spec_of(SLOVersion.objects.only("indicator").get(pk=one.version_id).indicator)
                flying[pool.submit(send_probe, spec, allow_private=one.allow_private)] = (one, spec, started)
            done, _ = wait(flying, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in done:
                one, spec, started = flying.pop(future)
                _count(one, spec, future.result(), started)
            if not flying:
                return
            room = AT_ONCE - len(flying)
            fresh = (
                claim_due(Probe.objects.all(), lease_for=LEASE, limit=room) if room and time.monotonic() < until else ()
            )


def _count(row: Probe, spec: ProbeSpec, outcome: Outcome, started: datetime) -> None:
    """Count a turn, and as unknown those that were missed before it, if the claim still holds."""
    missed, turn = turns_due(row.due_at, spec.every, started)
    counts = judged(spec, outcome)
    by_minute = counted_turn(
        counts, started=started, before=row.last_started_at, missed=missed[:MOST_MISSED], every=spec.every
    )
    increments = {(row.version_id, minute): one for minute, one in by_minute.items()} if outcome.sent else {}
    try:
        with transaction.atomic():
            lock_tallies([row.version_id])
            add_to_tallies(increments)
            settle(
                row,
                due_at=turn + spec.every,
                attempts=0,
                last_error="",
                last_started_at=started if outcome.sent else row.last_started_at,
                last_seconds=outcome.seconds,
                last_problem=outcome.problem or ("slower than it should be" if counts.bad else ""),
                missed=row.missed + len(missed),
                state=DataState.OK if outcome.sent else DataState.NOT_ALLOWED,
            )
    except StaleFenceError:
        return
