"""What reads along when new entries of the log are gone through: the sums by day, and each check at its desk."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache

from compliance.data import Cadence, Outcome
from compliance.domain.periods import Period, period_at, periods_between
from compliance.domain.rules import Fact, Rule
from compliance.models import Check, EntryDay, LogReading, Occurrence
from compliance.services.noting import Found, forget_older_versions, joined, note
from ledger.data.reading import SealedEntry
from ledger.selectors import sealed_of, unsealed_entries

CHANGED_CONTENT = "the content of an entry is not the one that was recorded"
# Of a period that failed, this many of its entries are shown.
SHOWN = 20


class Looked:
    """An entry that several checks look at: read and hashed once."""

    def __init__(self, row: SealedEntry) -> None:
        self.row = row
        payload = row.payload
        self.fact = (
            None if payload is None else Fact(row.pk, row.entry_type, row.occurred_at, row.actor, row.subject, payload)
        )
        self.sound = row.sound


class DaySums:
    """Keeps how many entries of each kind happened on each day, and when the first and the last of them."""

    def __init__(self, reading: LogReading, *, start: int) -> None:
        self.mark = reading.read_seq or start
        self.seen: set[str] = set()

    def take(self, rows: Sequence[SealedEntry]) -> int:
        """Add entries and return the highest key among them."""
        found: dict[tuple[str, date], list[datetime]] = defaultdict(list)
        for row in rows:
            found[row.entry_type, row.occurred_at.astimezone(UTC).date()].append(row.occurred_at)
        self.seen |= {name for name, _ in found}
        known = {
            (one.entry_type, one.day): one
            for one in EntryDay.objects.filter(
                entry_type__in={name for name, _ in found}, day__in={day for _, day in found}
            )
        }
        for (name, day), moments in found.items():
            one = known.setdefault(
                (name, day), EntryDay(entry_type=name, day=day, entries=0, first_at=moments[0], last_at=moments[0])
            )
            one.pk, one.entries = None, one.entries + len(moments)
            one.first_at, one.last_at = min(one.first_at, *moments), max(one.last_at, *moments)
        EntryDay.objects.bulk_create(
            [known[key] for key in found],
            batch_size=500,
            update_conflicts=True,
            unique_fields=("entry_type", "day"),
            update_fields=("entries", "first_at", "last_at"),
        )
        return max((row.pk for row in rows), default=0)


class Desk:
    """A check that reads along."""

    events = False

    def __init__(self, check: Check, *, start: int) -> None:
        self.check = check
        self.rule = Rule.model_validate(check.rule)
        self.types = frozenset(self.rule.entries)
        self.from_start = check.checked_seq == 0
        self.mark = check.checked_seq or start
        self.changed = 0
        self.failed = False

    def take(self, found: Iterable[Looked], *, now: datetime) -> None:
        """Look at entries, in the order of the log."""
        raise NotImplementedError

    def forget_older_versions(self, *, since: datetime) -> None:
        """After the whole log was looked at for a changed rule, drop what only the old one counted."""
        if self.from_start and self.check.version > 1:
            self.changed += forget_older_versions(self.check, since=since, events=self.events)


class EventDesk(Desk):
    """A check to which each entry of its population is an occurrence."""

    events = True

    def __init__(self, check: Check, *, start: int) -> None:
        super().__init__(check, start=start)
        self._first = self.from_start and not check.occurrences.exists()

    def take(self, found: Iterable[Looked], *, now: datetime) -> None:
        """Judge each entry of the population."""
        judged = [self._judged(one.row, one.fact, sound=one.sound) for one in found if self._selects(one.fact)]
        if judged:
            self.changed += note(self.check, judged, events=True, now=now, first=self._first)

    def _selects(self, fact: Fact | None) -> bool:
        return fact is not None and self.rule.selects(fact)

    def _judged(self, row: SealedEntry, fact: Fact | None, *, sound: bool) -> Found:
        failures = self.rule.failures(fact) if fact is not None else []
        outcome = Outcome.FAILED if failures or not sound else Outcome.PASSED
        reason = "; ".join(failures) or ("" if sound else "the content is not the one that was recorded")
        return Found(f"entry:{row.pk}", row.occurred_at, outcome, reason, (row.pk,), sound, row.occurred_at)


@cache
def _period_of(cadence: Cadence, day: date) -> Period:
    return period_at(cadence, datetime(day.year, day.month, day.day, tzinfo=UTC))


class Calendar:
    """What the desks of scheduled checks share in a run: days with entries, entries not sealed, open periods."""

    def __init__(self, desks: Sequence[Desk], *, now: datetime, head: int, since: datetime) -> None:
        self.now, self.head, self.since = now, head, since
        self._types = sorted(set().union(*(desk.types for desk in desks)))
        self._days: dict[str, set[date]] | None = None
        self.unsealed = unsealed_entries()
        self.open: dict[int, dict[str, datetime]] = defaultdict(dict)
        rows = Occurrence.objects.filter(
            check_run__in=[desk.check.pk for desk in desks], outcome=Outcome.PENDING
        ).order_by()
        for check, key, due_at in rows.values_list("check_run", "key", "due_at"):
            self.open[check][key] = due_at

    def is_empty(self, period: Period, types: Iterable[str]) -> bool:
        """Say whether it is known that no entry of these kinds happened in a period."""
        if period.start < self.since or self.waiting(period, types):
            return False
        if self._days is None:
            self._days = defaultdict(set)
            for name, day in EntryDay.objects.filter(entry_type__in=self._types).values_list("entry_type", "day"):
                self._days[name].add(day)
        first, last = period.start.date(), period.end.date()
        return not any(first <= day < last for name in types for day in self._days[name])

    def waiting(self, period: Period, types: Iterable[str]) -> list[Fact]:
        """Return the entries of these kinds in a period that wait to be sealed."""
        mine = (one for one in self.unsealed if one.entry_type in types)
        return [
            Fact(one.pk, one.entry_type, one.occurred_at, one.actor, one.subject, one.payload or {})
            for one in mine
            if period.start <= one.occurred_at < period.end
        ]


class ScheduledDesk(Desk):
    """A check that is due once in each period of the calendar."""

    def __init__(self, check: Check, *, start: int) -> None:
        super().__init__(check, start=start)
        self._known: dict[str, Occurrence] | None = None
        self._touched: dict[str, Period] = {}
        self._shown: dict[str, Found] = {}

    @property
    def known(self) -> dict[str, Occurrence]:
        """The occurrences under the present rule, by key."""
        if self._known is None:
            rows = Occurrence.objects.filter(check_run=self.check, check_version=self.check.version)
            self._known = {row.key: row for row in rows.defer("reason", "entries")}
        return self._known

    def _settled(self, key: str) -> bool:
        row = self.known.get(key)
        return key in self._shown or (row is not None and row.verified and row.outcome == Outcome.PASSED)

    def take(self, found: Iterable[Looked], *, now: datetime) -> None:  # noqa: ARG002 judged when all is read
        """Note which periods the entries speak of; one that passes settles a period that needs one."""
        for one in found:
            period = _period_of(self.rule.cadence, one.row.occurred_at.astimezone(UTC).date())
            if self._settled(period.key) or one.fact is None or not self.rule.selects(one.fact):
                continue
            row = self.known.get(period.key)
            simple = self.rule.count == 1 and period.key not in self._touched and one.sound
            if simple and (row is None or row.outcome != Outcome.FAILED) and not self.rule.failures(one.fact):
                self._shown[period.key] = _passed(period, [one.row])
            else:
                # What failed, or was changed, is weighed together with everything else in its period.
                self._touched[period.key] = period

    def is_busy(self, calendar: Calendar) -> bool:
        """Say whether there is anything to judge."""
        return bool(self._shown) or next(self._to_judge(calendar), None) is not None

    def finish(self, calendar: Calendar) -> None:
        """Judge the periods that were touched, that ended, and that began."""
        found = dict(self._shown)
        for period in self._to_judge(calendar):
            if period.key not in found and not self._settled(period.key):
                found[period.key] = judge_period(self.rule, period, calendar)
        # Before the check began nothing was due: what happened counts, what did not is not held against it.
        due = [one for one in found.values() if one.due_at > self.check.started_at or one.outcome is not Outcome.MISSED]
        if due:
            self.changed += note(self.check, sorted(due, key=lambda one: one.key), events=False, now=calendar.now)

    def _to_judge(self, calendar: Calendar) -> Iterator[Period]:
        yield from self._touched.values()
        cadence, now = self.rule.cadence, calendar.now
        for due_at in calendar.open[self.check.pk].values():
            if due_at <= now:
                yield period_at(cadence, due_at - timedelta(microseconds=1))
        last = self.check.last_run_at
        if last is None or period_at(cadence, now).start > last:
            first = max(min(last or self.check.started_at, now), self.check.started_at)
            yield from periods_between(cadence, first, now + timedelta(seconds=1))


def judge_period(rule: Rule, period: Period, calendar: Calendar) -> Found:
    """Judge a period from everything that the log says of it, in the order of the log."""
    passed: list[SealedEntry] = []
    failed: list[SealedEntry] = []
    reasons: list[str] = []
    empty = calendar.is_empty(period, rule.entries)
    for row in () if empty else sealed_of(rule.entries, period.start, period.end, before=calendar.head):
        fact = Looked(row).fact
        if fact is None or not rule.selects(fact):
            continue
        if not (failures := rule.failures(fact)):
            passed.append(row)
        elif len(failed) < SHOWN:
            failed.append(row)
            reasons += failures
        if len(passed) >= rule.count:
            break
    if len(passed) >= rule.count:
        if not all(row.sound for row in passed):
            return Found(
                period.key,
                period.end,
                Outcome.FAILED,
                CHANGED_CONTENT,
                tuple(row.pk for row in passed),
                happened_at=max(row.occurred_at for row in passed),
            )
        return _passed(period, passed)
    waiting = [one for one in calendar.waiting(period, rule.entries) if rule.selects(one) and not rule.failures(one)]
    shown = passed or failed
    keys = tuple(row.pk for row in shown)
    when = max((row.occurred_at for row in shown), default=None)
    if calendar.now < period.end or len(passed) + len(waiting) >= rule.count:
        reason = "not due yet" if calendar.now < period.end else "an entry waits to be sealed"
        return Found(period.key, period.end, Outcome.PENDING, reason, keys, happened_at=when)
    if failed:
        return Found(period.key, period.end, Outcome.FAILED, joined(reasons), keys, verified=True, happened_at=when)
    wanted = f"{rule.count} of {', '.join(rule.entries)}"
    return Found(period.key, period.end, Outcome.MISSED, f"{len(passed)} of {wanted} in this period")


def _passed(period: Period, rows: Sequence[SealedEntry]) -> Found:
    keys = tuple(row.pk for row in rows)
    when = max(row.occurred_at for row in rows)
    return Found(period.key, period.end, Outcome.PASSED, "", keys, verified=True, happened_at=when)
