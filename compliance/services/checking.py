"""Run the checks: read what is new in the log once, let every check look at it, record what was found."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db import transaction
from django.db.models import Max

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.data import Cadence
from compliance.domain.rules import Fact
from compliance.models import Check, EntryDay, LogReading
from compliance.selectors.scorecards import scorecard_digest
from compliance.services.absence import attest_absence, is_month_over
from compliance.services.desks import Calendar, DaySums, Desk, EventDesk, Looked, ScheduledDesk
from compliance.services.marking import CardDesk
from compliance.services.noting import CHECKER
from core.clock import database_now
from ledger.selectors import log_size, sealed_entries, seq_at

logger = logging.getLogger(__name__)
LOOK_BACK = timedelta(days=400)
# What a scorecard may ask for at most.
CARDS_LOOK_BACK = timedelta(days=800)
# Entries that are read, judged and written down in one transaction.
BATCH = 5_000


def run_checks(*, principal: Principal = CHECKER, control: str = "", now: datetime | None = None) -> int:
    """Run every check, or those of one control, and return how many occurrences changed.

    Each check remembers up to which place of the log it has looked. What has been sealed since is read once and handed
    to the checks that look at its kinds; a check with a new rule reads the last 400 days again. A check that fails is
    noted on its own row and stops no other. Two runs at once take turns.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    moment = now or database_now()
    checks = Check.objects.filter(retired_at__isnull=True, control__retired_at__isnull=True).select_related("control")
    if control:
        checks = checks.filter(control__slug=control)
    run = _Run(list(checks), now=moment)
    run.read_on()
    run.finish()
    return sum(desk.changed for desk in run.desks)


class _Run:
    """One run: the desks of the checks, and the sums by day, each with its place in the log."""

    def __init__(self, checks: Sequence[Check], *, now: datetime) -> None:
        self._now = now
        self._since = now - LOOK_BACK
        reading, _ = LogReading.objects.get_or_create(pk=1)
        self._head = log_size()
        start = 0
        if not reading.read_seq or any(not check.checked_seq for check in checks):
            start = seq_at(self._since)
        self._sums = DaySums(reading, start=start)
        cards_from = seq_at(now - CARDS_LOOK_BACK) if reading.cards_digest != scorecard_digest() else 0
        self._cards = CardDesk(reading, start=cards_from)
        self.desks: list[Desk] = []
        for check in checks:
            kind = EventDesk if check.cadence == Cadence.EVENT else ScheduledDesk
            try:
                self.desks.append(kind(check, start=start))
            except ValueError as error:
                _note_failure(check, error)

    def read_on(self) -> None:
        """Read up to the log's end, as many entries at a time as one transaction should hold."""
        while True:
            marks = [self._sums.mark, self._cards.mark, *(desk.mark for desk in self._live())]
            low = min(marks)
            if low >= self._head:
                return
            self._read(low, min([low + BATCH, self._head, *(mark for mark in marks if mark > low)]))

    def _live(self) -> Iterator[Desk]:
        return (desk for desk in self.desks if not desk.failed)

    @transaction.atomic
    def _read(self, start: int, end: int) -> None:
        # Whoever writes this row reads on; another run waits here, and then sees how far this one came.
        LogReading.objects.filter(pk=1).update(read_at=self._now)
        self._catch_up()
        desks = [desk for desk in self._live() if desk.mark == start]
        summing, marking = self._sums.mark == start, self._cards.mark == start
        if not desks and not summing and not marking:
            return
        wanted = frozenset[str]().union(*(desk.types for desk in desks), self._cards.types if marking else ())
        rows = sealed_entries(start, end, types=() if summing else wanted)
        if summing:
            last = self._sums.take(rows)
            self._sums.mark = end
            reading = LogReading.objects.get(pk=1)
            reading.read_seq, reading.last_entry = end, max(reading.last_entry, last)
            reading.save(update_fields=("read_seq", "last_entry"))
        by_type: defaultdict[str, list[Looked]] = defaultdict(list)
        for row in rows:
            if row.entry_type in wanted:
                by_type[row.entry_type].append(Looked(row))
        if marking:
            self._cards.take([one.fact for one in _of(by_type, self._cards.types) if one.fact is not None])
            self._cards.mark = end
            LogReading.objects.filter(pk=1).update(cards_seq=end, cards_digest=scorecard_digest())
        self._hand_out(by_type, desks)
        for desk in desks:
            desk.mark = end
        self._keep_marks([desk for desk in desks if desk.events and not desk.failed])

    def _catch_up(self) -> None:
        """Take over how far another run came meanwhile; leave a check alone whose rule was changed meanwhile."""
        reading = LogReading.objects.get(pk=1)
        self._sums.mark = max(self._sums.mark, reading.read_seq)
        if reading.cards_digest == scorecard_digest():
            self._cards.mark = max(self._cards.mark, reading.cards_seq)
        desks = {desk.check.pk: desk for desk in self._live() if desk.events}
        for key, mark, version in Check.objects.filter(pk__in=desks).values_list("pk", "checked_seq", "version"):
            desk = desks[key]
            desk.mark = self._head if version != desk.check.version else max(desk.mark, mark)

    def _hand_out(self, by_type: Mapping[str, Sequence[Looked]], desks: Sequence[Desk]) -> None:
        for desk in desks:
            if mine := _of(by_type, desk.types):
                self._attempt(desk, lambda desk=desk, mine=mine: desk.take(mine, now=self._now))

    def _attempt(self, desk: Desk, work: Any) -> None:
        try:
            with transaction.atomic():
                work()
        except Exception as error:
            logger.warning("check %s failed", desk.check.slug, exc_info=error)
            desk.failed = True
            _note_failure(desk.check, error)

    def _keep_marks(self, desks: Sequence[Desk]) -> None:
        """Write down how far checks have looked; not where a new version of the rule has to look again."""
        for (version, mark), group in groupby(sorted(desks, key=_place), key=_place):
            Check.objects.filter(pk__in=[desk.check.pk for desk in group], version=version).update(checked_seq=mark)

    def finish(self) -> None:
        """Judge what falls due by the calendar, attest absences, and note that the checks have run."""
        scheduled = [desk for desk in self._live() if isinstance(desk, ScheduledDesk)]
        calendar = Calendar(scheduled, now=self._now, head=self._head, since=self._since)
        for one in scheduled:
            if one.is_busy(calendar):
                self._attempt(one, lambda one=one: one.finish(calendar))
        newest = self._newest_signs()
        for desk in self._live():
            self._close(desk, newest)
        live = list(self._live())
        with transaction.atomic():
            self._keep_marks([desk for desk in live if not desk.events])
            for version, group in groupby(sorted(live, key=_version), key=_version):
                mine = Check.objects.filter(pk__in=[desk.check.pk for desk in group], version=version)
                mine.update(last_run_at=self._now, last_error="")

    def _close(self, desk: Desk, newest: dict[str, datetime]) -> None:
        check, alive = desk.check, desk.rule.alive
        if alive is not None:
            reach = self._now - timedelta(days=alive.within_days)
            seen = [newest[name] for name in alive.entries if name in newest]
            latest = max((one for one in seen if one >= reach), default=check.alive_at)
            if latest != check.alive_at:
                Check.objects.filter(pk=check.pk).update(alive_at=latest)
        if desk.from_start and check.version > 1:
            self._attempt(desk, lambda: desk.forget_older_versions(since=self._since))
        if desk.events and alive is not None and is_month_over(check, now=self._now):
            self._attempt(desk, lambda: attest_absence(check, desk.rule, alive, now=self._now))

    def _newest_signs(self) -> dict[str, datetime]:
        types = {name for desk in self.desks if desk.rule.alive for name in desk.rule.alive.entries}
        found = EntryDay.objects.filter(entry_type__in=types, day__gte=self._since.date()).order_by()
        return dict(found.values_list("entry_type").annotate(Max("last_at")))


def _of(by_type: Mapping[str, Sequence[Looked]], types: Iterable[str]) -> list[Looked]:
    """Return the entries of some kinds in the order of the log."""
    parts = [by_type[name] for name in types if name in by_type]
    if len(parts) == 1:
        return list(parts[0])
    return sorted((one for part in parts for one in part), key=lambda one: one.row.seq)


def _place(desk: Desk) -> tuple[int, int]:
    return desk.check.version, desk.mark


def _version(desk: Desk) -> int:
    return desk.check.version


def _note_failure(check: Check, error: Exception) -> None:
    Check.objects.filter(pk=check.pk).update(last_error=f"{type(error).__name__}: {error}"[:2000])


def fact_of(entry: Any) -> Fact | None:
    """Return a ledger entry as rules see it, or None when its content was erased."""
    payload = entry.payload
    if payload is None:
        return None
    return Fact(entry.pk, entry.entry_type, entry.occurred_at, entry.actor, entry.subject, payload)
