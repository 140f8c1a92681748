"""Write down what checks found: occurrences, their sums by day, and an entry for each result."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from accounts.data import system_principal
from compliance.data import Outcome
from compliance.models import Check, Occurrence, OccurrenceDay
from ledger.data.controls import ControlTested
from ledger.services import record

CHECKER = system_principal("compliance-checker")
# More results than this at a time are recorded as one entry that counts them.
RECORDED_EACH = 50
FIELDS = ("due_at", "happened_at", "outcome", "reason", "entries", "verified", "check_version", "evaluated_at")
Days = defaultdict[date, list[int]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found at one time."""

    key: str
    due_at: datetime
    outcome: Outcome
    reason: str
    entries: tuple[int, ...] = ()
    verified: bool = False
    happened_at: datetime | None = None


def note(check: Check, found: Sequence[Found], *, events: bool, now: datetime, first: bool = False) -> int:
    """Write what is new or changed and return how much that is. With `first` the check has no occurrence yet."""
    known = {}
    if not first:
        rows = Occurrence.objects.filter(check_run=check, key__in=[one.key for one in found])
        known = {row.key: row for row in rows}
    new: list[Occurrence] = []
    changed: list[Occurrence] = []
    results: list[Found] = []
    days: Days = defaultdict(lambda: [0, 0])
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
    Occurrence.objects.bulk_create(new, batch_size=1_000)
    Occurrence.objects.bulk_update(changed, FIELDS, batch_size=200)
    if events:
        _add_days(check, days)
    _record(check, results)
    return len(new) + len(changed)


def forget_older_versions(check: Check, *, since: datetime, events: bool) -> int:
    """Drop the occurrences since an instant that only an older version of the rule counted, and return how many.

    The entries that recorded them stay in the ledger.
    """
    rows = Occurrence.objects.filter(check_run=check, check_version__lt=check.version, due_at__gte=since)
    days: Days = defaultdict(lambda: [0, 0])
    for due_at, outcome, verified in rows.values_list("due_at", "outcome", "verified").iterator():
        _count(days, due_at, outcome, verified=verified, sign=-1)
    count, _ = rows.delete()
    if events:
        _add_days(check, days)
    return count


def _filled(row: Occurrence, one: Found, check: Check) -> Occurrence:
    row.due_at, row.happened_at, row.outcome = one.due_at, one.happened_at, one.outcome.value
    row.reason, row.entries, row.verified = one.reason[:500], list(one.entries), one.verified
    row.check_version = check.version
    return row


def _count(days: Days, at: datetime, outcome: str, *, verified: bool, sign: int) -> None:
    if outcome != Outcome.PENDING.value:
        counts = days[at.astimezone(UTC).date()]
        counts[0] += sign
        counts[1] += sign * (outcome == Outcome.PASSED.value and verified)


def _add_days(check: Check, days: Days) -> None:
    if not days:
        return
    rows = {row.day: row for row in OccurrenceDay.objects.filter(check_run=check, day__in=days)}
    for day, (due, passed) in days.items():
        row = rows.setdefault(day, OccurrenceDay(check_run=check, day=day))
        row.pk, row.due, row.passed = None, row.due + due, row.passed + passed
    OccurrenceDay.objects.bulk_create(
        rows.values(),
        batch_size=500,
        update_conflicts=True,
        unique_fields=("check_run", "day"),
        update_fields=("due", "passed"),
    )


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


def joined(reasons: Iterable[str]) -> str:
    """Return reasons as one text, each once."""
    return "; ".join(dict.fromkeys(reasons))
