"""The log as an audit trail: who did what to whom, newest first, read page by page whatever its length.

A page begins after a place (time of recording, key), never after a count, so that the thousandth costs what the first
does. What an index answers (actor, type, subject, period) is asked of the database at once; words are looked for in
stretches of the log, and the answer says how far it looked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import orjson
from django.db.models import F, Func, Q, QuerySet, TextField

from ledger.models import LedgerEntry

# How many entries one page looks through for words before it says how far it came.
STRETCH = 20_000
CHUNK = 500


class Place(NamedTuple):
    """Where a page ends: the last entry that was looked at."""

    recorded_at: datetime
    key: int


@dataclass(frozen=True)
class TrailQuestion:
    """Which entries are wanted. A part left empty does not narrow; `until` is exclusive; every word must be found.

    Words are looked for in actor, subject, type and in the values of the payload.
    """

    actors: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trail:
    """A page of the trail. `older` is where to go on, None at the end; `full` says that the page has its whole length.

    With words, a page may end before it is full: then it has looked back to `older.recorded_at`.
    """

    entries: list[LedgerEntry]
    older: Place | None
    full: bool = True


class BodyText(Func):
    """A payload as text, for a search; an erased one is empty."""

    output_field = TextField()
    template = "CAST(%(expressions)s AS TEXT)"

    def as_postgresql(self, compiler: object, connection: object, **extra: object) -> object:
        return super().as_sql(compiler, connection, template="convert_from(%(expressions)s, 'UTF8')", **extra)  # type: ignore[arg-type]


def trail(question: TrailQuestion, *, after: Place | None = None, limit: int = 50) -> Trail:
    """Return the entries that follow a place, newest first."""
    if question.words:
        return _searched(question, after, limit)
    found = list(_narrowed(question, after)[: limit + 1])
    more = len(found) > limit
    found = found[:limit]
    return Trail(found, _place(found[-1]) if more else None)


def whole_trail(question: TrailQuestion) -> Iterator[LedgerEntry]:
    """Yield everything that is asked for, newest first, in chunks: the memory needed does not grow with the log."""
    after: Place | None = None
    while True:
        page = trail(question, after=after, limit=CHUNK)
        yield from page.entries
        if page.older is None:
            return
        after = page.older


def _narrowed(question: TrailQuestion, after: Place | None) -> QuerySet[LedgerEntry]:
    found = LedgerEntry.objects.select_related("content", "seal").order_by("-recorded_at", "-pk")
    if question.actors:
        found = found.filter(actor__in=question.actors)
    if question.types:
        found = found.filter(entry_type__in=question.types)
    if question.subject:
        found = found.filter(subject=question.subject)
    if question.since is not None:
        found = found.filter(recorded_at__gte=question.since)
    if question.until is not None:
        found = found.filter(recorded_at__lt=question.until)
    if after is not None:
        # The first condition is implied by the second; an index can use it.
        found = found.filter(recorded_at__lte=after.recorded_at).filter(
            Q(recorded_at__lt=after.recorded_at) | Q(pk__lt=after.key)
        )
    return found


def _searched(question: TrailQuestion, after: Place | None, limit: int) -> Trail:
    plain = replace(question, words=())
    stretch = _narrowed(plain, after)
    last = stretch.select_related(None).values_list("recorded_at", "pk")[STRETCH - 1 : STRETCH].first()
    end = Place(*last) if last else None
    if end is not None:
        stretch = stretch.filter(recorded_at__gte=end.recorded_at).filter(
            Q(recorded_at__gt=end.recorded_at) | Q(pk__gte=end.key)
        )
    for word in question.words:
        inside = orjson.dumps(word).decode()[1:-1]
        stretch = stretch.alias(said=BodyText(F("content__body"))).filter(
            Q(actor__icontains=word)
            | Q(subject__icontains=word)
            | Q(entry_type__icontains=word)
            | Q(said__icontains=inside)
        )
    found: list[LedgerEntry] = []
    for entry in stretch.iterator(chunk_size=CHUNK):
        if not _says(entry, question.words):
            continue
        found.append(entry)
        if len(found) > limit:
            return Trail(found[:limit], _place(found[limit - 1]))
    return Trail(found, end, full=end is None)


def _says(entry: LedgerEntry, words: tuple[str, ...]) -> bool:
    """Say whether every word is in a known field; the database also finds the names of a payload's fields."""
    texts = [entry.actor, entry.subject, entry.entry_type, *_values(entry.payload)]
    folded = "\n".join(texts).casefold()
    return all(word.casefold() in folded for word in words)


def _values(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def _place(entry: LedgerEntry) -> Place:
    return Place(entry.recorded_at, entry.pk)
