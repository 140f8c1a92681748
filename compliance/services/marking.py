"""Mark the entries that decide scorecards, while the log is read."""

from collections.abc import Iterable
from datetime import datetime

from compliance.domain.rules import Fact
from compliance.domain.scorecards import Item, is_chosen, services_of, shows
from compliance.models import LogReading, ScorecardMark
from compliance.selectors.scorecards import scorecard_digest, scorecard_items

LONGEST_SERVICE = 63


class CardDesk:
    """Reads along for the scorecards: of each item and service the newest entry, and the newest that shows it."""

    def __init__(self, reading: LogReading, *, start: int) -> None:
        same = reading.cards_digest == scorecard_digest()
        self.from_start = not same or not reading.cards_seq
        self.mark = start if self.from_start else reading.cards_seq
        self._items: dict[str, list[Item]] = {}
        for item in scorecard_items():
            for name in item.entries:
                self._items.setdefault(name, []).append(item)
        self.types = frozenset(self._items)

    def take(self, facts: Iterable[Fact]) -> None:
        """Look at entries, in the order of the log."""
        if self.from_start:
            ScorecardMark.objects.all().delete()
            self.from_start = False
        found: dict[tuple[str, str], ScorecardMark] = {}
        for fact in facts:
            services = [one for one in services_of(fact) if len(one) <= LONGEST_SERVICE]
            for item in self._items[fact.entry_type] if services else ():
                if is_chosen(item, fact):
                    good = shows(item, fact)
                    for service in services:
                        _advance(found.setdefault((item.name, service), _blank(item, service, fact)), fact, good=good)
        known = {
            (one.item, one.service): one
            for one in ScorecardMark.objects.filter(service__in={service for _, service in found})
        }
        for key, mark in found.items():
            if (old := known.get(key)) is not None:
                _merge(mark, old)
        ScorecardMark.objects.bulk_create(
            found.values(),
            batch_size=500,
            update_conflicts=True,
            unique_fields=("item", "service"),
            update_fields=("newest_entry", "newest_at", "shown_entry", "shown_at"),
        )


def _blank(item: Item, service: str, fact: Fact) -> ScorecardMark:
    return ScorecardMark(item=item.name, service=service, newest_entry=fact.entry, newest_at=fact.occurred_at)


def _advance(mark: ScorecardMark, fact: Fact, *, good: bool) -> None:
    place = (fact.occurred_at, fact.entry)
    mark.newest_at, mark.newest_entry = max((mark.newest_at, mark.newest_entry), place)
    if good and _later(place, mark):
        mark.shown_at, mark.shown_entry = place


def _later(place: tuple[datetime, int], mark: ScorecardMark) -> bool:
    return mark.shown_at is None or mark.shown_entry is None or place > (mark.shown_at, mark.shown_entry)


def _merge(old: ScorecardMark, new: ScorecardMark) -> None:
    old.newest_at, old.newest_entry = max((old.newest_at, old.newest_entry), (new.newest_at, new.newest_entry))
    if new.shown_at is not None and new.shown_entry is not None and _later((new.shown_at, new.shown_entry), old):
        old.shown_at, old.shown_entry = new.shown_at, new.shown_entry
