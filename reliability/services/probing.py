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
from django.db.models import QuerySet

from core.clock import database_now
from core.leases import StaleFenceError, claim_due, settle
from core.releases import newer_format
from core.work import wake
from reliability.data import DataState
from reliability.domain.probes import Outcome, ProbeSpec, counted_turn, judged, missed_turns, turns_due
from reliability.models import LocationProbe, Probe, SLOVersion
from reliability.services.probe_requests import send_probe
from reliability.services.tallying import add_to_tallies, lock_tallies

QUEUE = "reliability.probe"
LOCATION_WORK = "reliability.location-probe"
LOCATION_FORMAT = 1
"""Raise it when location probes are written that probers of the release before cannot run: they then leave them."""
LEASE = timedelta(seconds=90)
AT_ONCE = 64
LONGEST_ROUND_SECONDS = 20.0
MOST_MISSED = 1000
"""After a pause this long, all but the first minute of it is unmeasured anyway."""
UNPROBED_AFTER = timedelta(seconds=60)
MOST_PASSED_OVER = 100_000


def start_probing(version: SLOVersion, *, allow_private: bool) -> None:
    """Begin to probe for a version, from now on: from its locations, their turns spread evenly, or from the workers."""
    now = version.effective_from
    spec = spec_of(version.indicator)
    if spec.locations:
        firsts = {one: now + spec.every * place / len(spec.locations) for place, one in enumerate(spec.locations)}
        LocationProbe.objects.bulk_create(
            LocationProbe(version=version, location=one, allow_private=allow_private, begins_at=first, due_at=first)
            for one, first in firsts.items()
        )
        return
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
                count_turn(one, spec, future.result(), started)
            if not flying:
                return
            room = AT_ONCE - len(flying)
            fresh = (
                claim_due(Probe.objects.all(), lease_for=LEASE, limit=room) if room and time.monotonic() < until else ()
            )


def count_turn(row: Probe | LocationProbe, spec: ProbeSpec, outcome: Outcome, started: datetime) -> None:
    """Count a turn, and as unknown those that were missed before it, if the claim still holds."""
    missed, turn = turns_due(row.due_at, spec.every, started)
    counts = judged(spec, outcome)
    by_minute = counted_turn(
        counts,
        started=started,
        before=row.last_started_at,
        missed=missed[:MOST_MISSED],
        every=spec.every,
        alone=isinstance(row, Probe),
    )
    increments = {(row.version_id, minute): one for minute, one in by_minute.items()} if outcome.sent else {}
    changes: dict[str, Any] = {}
    if isinstance(row, LocationProbe) and outcome.sent:
        changes = {"good": row.good + counts.good, "bad": row.bad + counts.bad}
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
                **changes,
            )
    except StaleFenceError:
        return


def location_probes() -> QuerySet[LocationProbe]:
    """Return the location probes that this release may run; asked in the statement that claims them."""
    return LocationProbe.objects.exclude(newer_format(LOCATION_WORK, LOCATION_FORMAT))


def workers_probes() -> QuerySet[Probe]:
    """Return the probes of the site's workers that this release may run."""
    return Probe.objects.exclude(newer_format(QUEUE, 1))


def probed_locations() -> list[str]:
    """Return the locations from which something is probed."""
    return sorted(set(LocationProbe.objects.order_by().values_list("location", flat=True).distinct()))


def count_unprobed() -> int:
    """Count as unknown the turns that no prober of their location has run, and return how many.

    Other locations measure the same minutes: left out in silence, a dead one would leave a count that looks whole.
    """
    before = database_now() - UNPROBED_AFTER
    seen: list[int] = []
    turns = 0
    while rows := claim_due(
        location_probes().filter(due_at__lt=before).exclude(pk__in=seen), lease_for=timedelta(seconds=30), limit=100
    ):
        seen += [row.pk for row in rows]
        indicators = dict(
            SLOVersion.objects.filter(pk__in=[row.version_id for row in rows]).values_list("pk", "indicator")
        )
        for row in rows:
            turns += _pass_over(row, spec_of(indicators[row.version_id]), before)
    return turns


def _pass_over(row: LocationProbe, spec: ProbeSpec, before: datetime) -> int:
    """Count the turns of a row that were missed before an instant, and go on with the first after it."""
    missed, turn = turns_due(row.due_at, spec.every, before)
    increments = {(row.version_id, minute): one for minute, one in missed_turns(missed[:MOST_PASSED_OVER]).items()}
    changes: dict[str, Any] = {"state": DataState.NO_PROBER} if missed else {}
    try:
        with transaction.atomic():
            lock_tallies([row.version_id])
            add_to_tallies(increments)
            settle(row, due_at=turn, attempts=0, missed=row.missed + len(missed), **changes)
    except StaleFenceError:
        return 0
    return len(missed)
