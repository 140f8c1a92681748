"""Run the checks: read the ledger, note each occurrence, record what was found."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from compliance.data import Outcome
from compliance.domain.periods import Cadence, Period, period_at, periods_between
from compliance.domain.rules import Fact, Rule
from compliance.models import Check, Occurrence, OccurrenceDay
from compliance.selectors.standing import alive_throughout, signs_of_life
from core.clock import database_now
from ledger.data.controls import AbsenceAttested, ControlTested
from ledger.selectors import entries
from ledger.services import record

logger = logging.getLogger(__name__)
CHECKER = system_principal("compliance-checker")
LOOK_BACK = timedelta(days=400)
# Entries of a long transaction become visible after later ones; looking back this far again misses none.
OVERLAP = timedelta(hours=1)
BATCH = 2_000
# More results than this in one run are recorded as one entry that counts them.
RECORDED_EACH = 50


@dataclass(frozen=True)
class Found:
    """What a check found at one time."""

    key: str
    due_at: datetime
    outcome: Outcome
    reason: str
    entries: tuple[int, ...] = ()
    verified: bool = False
    happened_at: datetime | None = None


def run_checks(*, principal: Principal = CHECKER, control: str = "", now: datetime | None = None) -> int:
    """Run every check, or those of one control, and return how many occurrences changed.

    A check that fails is noted on its own row and stops no other.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    moment = now or database_now()
    checks = Check.objects.filter(retired_at__isnull=True, control__retired_at__isnull=True).select_related("control")
    if control:
        checks = checks.filter(control__slug=control)
    changed = 0
    for check in checks:
        try:
            with transaction.atomic():
                changed += _run(check, now=moment)
        except Exception as error:
            logger.warning("check %s failed", check.slug, exc_info=error)
            Check.objects.filter(pk=check.pk).update(last_error=f"{type(error).__name__}: {error}"[:2000])
    return changed


def _run(check: Check, *, now: datetime) -> int:
    rule = Rule.model_validate(check.rule)
    events = rule.cadence is Cadence.EVENT
    found = _events(check, rule, now=now) if events else iter(_periods(check, rule, now=now))
    changed = sum(_note(check, batch, events=events, now=now) for batch in _batches(found))
    alive_at = check.alive_at
    if rule.alive is not None:
        latest = entries(types=rule.alive.entries, since=now - timedelta(days=rule.alive.within_days)).first()
        alive_at = latest.occurred_at if latest else alive_at
    attested_until = _attest_absence(check, rule, now=now) if events and rule.alive else check.attested_until
    Check.objects.filter(pk=check.pk).update(
        last_run_at=now, last_error="", alive_at=alive_at, attested_until=attested_until
    )
    return changed


def _batches(found: Iterator[Found]) -> Iterator[list[Found]]:
    while batch := list(islice(found, BATCH)):
        yield batch


def _events(check: Check, rule: Rule, *, now: datetime) -> Iterator[Found]:
    """Judge each entry of the population that has not been settled."""
    since = now - LOOK_BACK if check.last_run_at is None else check.last_run_at - OVERLAP
    known = Occurrence.objects.filter(check_run=check, check_version=check.version, verified=True)
    settled = set(known.filter(evaluated_at__gte=since).values_list("key", flat=True))
    # What was not sealed when it was judged is judged again, however long that took.
    waiting = Occurrence.objects.filter(check_run=check, outcome=Outcome.PENDING, evaluated_at__lt=since)
    old = [key for keys in waiting.values_list("entries", flat=True) for key in keys]
    rows = entries(types=rule.entries).filter(recorded_at__gte=since, recorded_at__lte=now)
    for entry in (*entries().filter(pk__in=old), *rows.order_by("pk").iterator(chunk_size=BATCH)):
        key = f"entry:{entry.pk}"
        fact = None if key in settled else fact_of(entry)
        if fact is None or not rule.selects(fact):
            continue
        failures = rule.failures(fact)
        sealed, sound = proven(entry)
        outcome = Outcome.FAILED if failures or not sound else (Outcome.PASSED if sealed else Outcome.PENDING)
        reason = "; ".join(failures) or ("" if sound else "the content is not the one that was recorded")
        yield Found(key, entry.occurred_at, outcome, reason, (entry.pk,), sealed and sound, entry.occurred_at)


def _periods(check: Check, rule: Rule, *, now: datetime) -> list[Found]:
    """Judge each period that is not settled: those since the last run, and those that late entries speak of."""
    last = check.last_run_at or check.started_at
    known = Occurrence.objects.filter(check_run=check, check_version=check.version)
    settled = set(known.filter(verified=True, outcome=Outcome.PASSED).values_list("key", flat=True))
    first = max(min(last - OVERLAP, now), check.started_at)
    periods = {one.key: one for one in periods_between(rule.cadence, first, now + timedelta(seconds=1))}
    pending = known.filter(outcome=Outcome.PENDING, due_at__lte=first).values_list("due_at", flat=True)
    late = entries(types=rule.entries, until=first).filter(
        recorded_at__gte=min(last, check.started_at) - OVERLAP if check.last_run_at is None else last - OVERLAP,
        recorded_at__lte=now,
    )
    moments = [*(at - timedelta(microseconds=1) for at in pending), *late.values_list("occurred_at", flat=True)]
    touched = {one.key: one for one in (period_at(rule.cadence, at) for at in moments)}
    found = [_period(rule, one, now=now) for key, one in sorted({**touched, **periods}.items()) if key not in settled]
    # Before the check began nothing was due: what happened counts, what did not is not held against it.
    return [one for one in found if one.due_at > check.started_at or one.outcome is not Outcome.MISSED]


def _period(rule: Rule, period: Period, *, now: datetime) -> Found:
    passed: list[Any] = []
    reasons: list[str] = []
    failed: list[Any] = []
    for entry in entries(types=rule.entries, since=period.start, until=period.end).order_by("pk"):
        fact = fact_of(entry)
        if fact is None or not rule.selects(fact):
            continue
        if failures := rule.failures(fact):
            failed.append(entry)
            reasons += failures
            continue
        passed.append(entry)
        if len(passed) >= rule.count and all(proven(one) == (True, True) for one in passed):
            break
    chosen = passed[: rule.count]
    keys = tuple(entry.pk for entry in (chosen or failed[:20]))
    when = max((entry.occurred_at for entry in (chosen or failed)), default=None)
    if len(chosen) >= rule.count:
        states = [proven(entry) for entry in chosen]
        if not all(sound for _, sound in states):
            reason = "the content of an entry is not the one that was recorded"
            return Found(period.key, period.end, Outcome.FAILED, reason, keys, happened_at=when)
        sealed = all(sealed for sealed, _ in states)
        return Found(
            period.key, period.end, Outcome.PASSED if sealed else Outcome.PENDING, "", keys, sealed, happened_at=when
        )
    if now < period.end:
        return Found(period.key, period.end, Outcome.PENDING, "not due yet", keys, happened_at=when)
    if failed:
        reason = "; ".join(dict.fromkeys(reasons))
        return Found(period.key, period.end, Outcome.FAILED, reason, keys, verified=True, happened_at=when)
    wanted = f"{rule.count} of {', '.join(rule.entries)}"
    return Found(period.key, period.end, Outcome.MISSED, f"{len(chosen)} of {wanted} in this period")


def _note(check: Check, found: Sequence[Found], *, events: bool, now: datetime) -> int:
    """Write what is new or changed, keep the sums by day, and record the results."""
    known = {row.key: row for row in Occurrence.objects.filter(check_run=check, key__in=[one.key for one in found])}
    new: list[Occurrence] = []
    changed: list[Occurrence] = []
    results: list[Found] = []
    days: defaultdict[date, list[int]] = defaultdict(lambda: [0, 0])
    for one in found:
        row = known.get(one.key)
        values = (one.outcome.value, one.reason[:500], list(one.entries), one.verified, check.version)
        if row is not None and values == (row.outcome, row.reason, row.entries, row.verified, row.check_version):
            continue
        if row is not None:
            _count(days, row.due_at, row.outcome, verified=row.verified, sign=-1)
        _count(days, one.due_at, one.outcome.value, verified=one.verified, sign=1)
        (new if row is None else changed).append(_filled(row or Occurrence(check_run=check, key=one.key), one, check))
        if one.outcome is not Outcome.PENDING:
            results.append(one)
    for row in (*new, *changed):
        row.evaluated_at = now
    Occurrence.objects.bulk_create(new, batch_size=500)
    fields = ("due_at", "happened_at", "outcome", "reason", "entries", "verified", "check_version", "evaluated_at")
    Occurrence.objects.bulk_update(changed, fields, batch_size=200)
    if events:
        _add_days(check, days)
    _record(check, results)
    return len(new) + len(changed)


def _filled(row: Occurrence, one: Found, check: Check) -> Occurrence:
    row.due_at, row.happened_at, row.outcome = one.due_at, one.happened_at, one.outcome.value
    row.reason, row.entries, row.verified = one.reason[:500], list(one.entries), one.verified
    row.check_version = check.version
    return row


def _count(days: dict[date, list[int]], at: datetime, outcome: str, *, verified: bool, sign: int) -> None:
    if outcome != Outcome.PENDING.value:
        counts = days[at.astimezone(UTC).date()]
        counts[0] += sign
        counts[1] += sign * (outcome == Outcome.PASSED.value and verified)


def _add_days(check: Check, days: dict[date, list[int]]) -> None:
    known = {row.day: row for row in OccurrenceDay.objects.filter(check_run=check, day__in=days)}
    new = []
    for day, (due, passed) in days.items():
        row = known.get(day)
        if row is None:
            new.append(OccurrenceDay(check_run=check, day=day, due=due, passed=passed))
        else:
            row.due, row.passed = row.due + due, row.passed + passed
    OccurrenceDay.objects.bulk_create(new, batch_size=500)
    OccurrenceDay.objects.bulk_update(known.values(), ("due", "passed"), batch_size=200)


def _record(check: Check, results: Sequence[Found]) -> None:
    if len(results) > RECORDED_EACH:
        passed = sum(one.outcome is Outcome.PASSED and one.verified for one in results)
        occurrence = f"{len(results)} occurrences, {results[0].key} to {results[-1].key}"
        result = Outcome.PASSED if passed == len(results) else Outcome.FAILED
        _record_one(check, occurrence, result=result.value, total=len(results), passed=passed)
        return
    for one in results:
        good = one.outcome is Outcome.PASSED and one.verified
        _record_one(check, one.key, result=one.outcome.value, total=1, passed=int(good), one=one)


def _record_one(
    check: Check, occurrence: str, *, result: str, total: int, passed: int, one: Found | None = None
) -> None:
    record(
        ControlTested(
            control=check.control.slug,
            control_version=check.control.version,
            check=check.slug,
            check_version=check.version,
            occurrence=occurrence,
            result=result,
            population=total,
            passed=passed,
            exceptions=total - passed,
            reason=one.reason[:500] if one else "",
            entries=list(one.entries) if one else [],
        ),
        actor=CHECKER.reference,
        subject=f"control:{check.control.slug}",
    )


def _attest_absence(check: Check, rule: Rule, *, now: datetime) -> datetime | None:
    """Attest each whole month without an occurrence in which the collector is known to have worked throughout."""
    assert rule.alive is not None  # noqa: S101 the caller looked
    start = check.attested_until or check.started_at
    reach = timedelta(days=rule.alive.within_days)
    for month in periods_between(Cadence.MONTHLY, start, now):
        if month.end > now:
            break
        begin = max(month.start, check.started_at)
        if not Occurrence.objects.filter(check_run=check, due_at__gte=begin, due_at__lt=month.end).exists():
            signs = signs_of_life(rule.alive.entries, start=begin - reach, end=month.end)
            if alive_throughout(signs, start=begin, end=month.end, reach=reach):
                _record_absence(check, rule, begin, month.end, signs)
        start = month.end
    return start


def _record_absence(check: Check, rule: Rule, start: datetime, end: datetime, signs: Sequence[datetime]) -> None:
    assert rule.alive is not None  # noqa: S101 the caller looked
    seen = entries(types=rule.alive.entries, since=start, until=end).filter(seal__isnull=False)
    canary = seen.values_list("seal__seq", flat=True).first()
    silences = [later - earlier for earlier, later in pairwise([start, *(one for one in signs if one > start), end])]
    record(
        AbsenceAttested(
            control=check.control.slug,
            check=check.slug,
            check_version=check.version,
            window_start=start,
            window_end=end,
            population=rule.entries,
            signs_of_life=seen.count(),
            longest_silence_seconds=int(max(silences).total_seconds()),
            canary=-1 if canary is None else canary,
        ),
        actor=CHECKER.reference,
        subject=f"control:{check.control.slug}",
        period=(start, end),
    )


def fact_of(entry: Any) -> Fact | None:
    """Return a ledger entry as rules see it, or None when its content was erased."""
    payload = entry.payload
    if payload is None:
        return None
    return Fact(entry.pk, entry.entry_type, entry.occurred_at, entry.actor, entry.subject, payload)


def proven(entry: Any) -> tuple[bool, bool]:
    """Say whether an entry is sealed into the log, and whether its content is the one that was recorded."""
    content = entry.content
    digest = hashlib.sha256(bytes(content.nonce) + bytes(content.body)).hexdigest()
    return entry.seq is not None, digest == entry.payload_sha256
