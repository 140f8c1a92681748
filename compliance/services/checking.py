"""Run the checks: read the ledger, note each occurrence, record what was found."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from compliance.data import Outcome
from compliance.domain.periods import Cadence, Period, periods_between
from compliance.domain.rules import Fact, Rule
from compliance.models import Check, Occurrence
from core.clock import database_now
from ledger.data.controls import ControlTested
from ledger.selectors import entries
from ledger.services import record

logger = logging.getLogger(__name__)
CHECKER = system_principal("compliance-checker")
LOOK_BACK = timedelta(days=400)
# Entries of a long transaction become visible after later ones; looking back this far again misses none.
OVERLAP = timedelta(hours=1)


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
    found = _events(check, rule, now=now) if events else _periods(check, rule, now=now)
    changed = _note(check, found, now=now)
    alive_at = check.alive_at
    if rule.alive is not None:
        latest = entries(types=rule.alive.entries, since=now - timedelta(days=rule.alive.within_days)).first()
        alive_at = latest.occurred_at if latest else alive_at
    Check.objects.filter(pk=check.pk).update(last_run_at=now, last_error="", alive_at=alive_at)
    return changed


def _events(check: Check, rule: Rule, *, now: datetime) -> list[Found]:
    """Judge each entry of the population that has not been settled."""
    since = now - LOOK_BACK if check.last_run_at is None else check.last_run_at - OVERLAP
    settled = set(
        Occurrence.objects.filter(check_run=check, check_version=check.version, verified=True).values_list(
            "key", flat=True
        )
    )
    found = []
    rows = entries(types=rule.entries).filter(recorded_at__gte=since, recorded_at__lte=now)
    for entry in rows.order_by("pk"):
        key = f"entry:{entry.pk}"
        fact = None if key in settled else fact_of(entry)
        if fact is None or not rule.selects(fact):
            continue
        failures = rule.failures(fact)
        sealed, sound = proven(entry)
        outcome = Outcome.FAILED if failures or not sound else (Outcome.PASSED if sealed else Outcome.PENDING)
        reason = "; ".join(failures) or ("" if sound else "the content is not the one that was recorded")
        found.append(Found(key, entry.occurred_at, outcome, reason, (entry.pk,), sealed and sound, entry.occurred_at))
    return found


def _periods(check: Check, rule: Rule, *, now: datetime) -> list[Found]:
    """Judge each period that is not settled since the check began."""
    last = check.last_run_at or check.started_at
    settled = set(
        Occurrence.objects.filter(
            check_run=check, check_version=check.version, verified=True, outcome=Outcome.PASSED
        ).values_list("key", flat=True)
    )
    first = max(min(last - OVERLAP, now), check.started_at)
    return [
        _period(rule, period, now=now)
        for period in periods_between(rule.cadence, first, now + timedelta(seconds=1))
        if period.key not in settled
    ]


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


def _note(check: Check, found: Iterable[Found], *, now: datetime) -> int:
    known = {row.key: row for row in Occurrence.objects.filter(check_run=check, key__in=[one.key for one in found])}
    changed = 0
    for one in found:
        row = known.get(one.key)
        values = (one.outcome.value, one.reason[:500], list(one.entries), one.verified, check.version)
        if row is not None and values == (row.outcome, row.reason, row.entries, row.verified, row.check_version):
            continue
        Occurrence.objects.update_or_create(
            check_run=check,
            key=one.key,
            defaults={
                "due_at": one.due_at,
                "happened_at": one.happened_at,
                "outcome": one.outcome.value,
                "reason": one.reason[:500],
                "entries": list(one.entries),
                "verified": one.verified,
                "check_version": check.version,
                "evaluated_at": now,
            },
        )
        changed += 1
        if one.outcome is not Outcome.PENDING:
            _record(check, one)
    return changed


def _record(check: Check, found: Found) -> None:
    record(
        ControlTested(
            control=check.control.slug,
            control_version=check.control.version,
            check=check.slug,
            check_version=check.version,
            occurrence=found.key,
            result=found.outcome.value,
            population=1,
            passed=int(found.outcome is Outcome.PASSED and found.verified),
            exceptions=int(found.outcome is not Outcome.PASSED),
            reason=found.reason[:500],
            entries=list(found.entries),
        ),
        actor=CHECKER.reference,
        subject=f"control:{check.control.slug}",
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
