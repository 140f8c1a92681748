"""What becomes of old minutes: a day that is over is packed by tally; after ninety days only edges are kept."""

from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.db.models import F, QuerySet

from core.clock import database_now
from core.lifecycle import is_held, kept_for
from core.partitions import parts
from reliability.domain.budgets import Counts
from reliability.domain.sheets import MEASURED, MINUTES_A_DAY, PLACES, blank, counts_at, packed_day
from reliability.models import (
    KEY_BASE,
    MINUTE_OF_KEY,
    Exemplar,
    IntakeProblem,
    KeptMinute,
    SLOVersion,
    TallyBlock,
    TallyDay,
    TallyEdge,
    TallyPack,
)
from reliability.selectors.shelves import blocks_between
from reliability.services.outliving import MINUTES, MINUTES_CLASS, MINUTES_KEPT_FOR
from reliability.services.tallying import UPSERT_PACK, lock_shelf

EDGE_MINUTES = 60


def look_after_tallies() -> None:
    """Pack the days that are over, thin those beyond the horizon, and drop what is only kept as long (hourly)."""
    today = int(database_now().timestamp()) // 86_400
    keep = kept_for(MINUTES_CLASS)
    horizon = 0 if keep is None else today - keep.days
    pack_days(before_day=today, from_day=horizon)
    if not is_held(MINUTES_CLASS):
        thin(before_day=horizon)
    oldest = today - MINUTES_KEPT_FOR.days
    Exemplar.objects.filter(minute__lt=oldest * MINUTES_A_DAY).delete()
    IntakeProblem.objects.filter(last_at__lt=database_now() - MINUTES_KEPT_FOR).delete()


def pack_days(*, before_day: int, from_day: int = 0) -> int:
    """Pack each shelf's days before `before_day` that are not packed, or not any more; returns how many."""
    done = 0
    keys = TallyDay.objects.filter(form=TallyDay.Form.BLOCKS).order_by("key").values_list("key", flat=True)
    for key in [one for one in keys if from_day <= one % KEY_BASE < before_day]:
        with transaction.atomic():
            shelf, day = divmod(key, KEY_BASE)
            lock_shelf(shelf)
            _pack(shelf, day)
            TallyDay.objects.filter(key=key).update(form=TallyDay.Form.PACKED)
        done += 1
    return done


def thin(*, before_day: int) -> int:
    """Leave of days before `before_day` the last minute of each hour and what something is bounded by.

    Sums run on, so that a minute that goes changes no window whose edges are kept. Where a day goes with its month, its
    edges are copied to their own table, and the rest stays until then; elsewhere the rest is deleted. Returns how many
    days were thinned.
    """
    done = 0
    stays, goes = _spans_of_parts(before_day)
    forms = [TallyDay.Form.BLOCKS, TallyDay.Form.PACKED]
    # What was thinned by deletion before its part came to an end.
    thinned = [TallyDay.Form.THINNED] if goes else []
    days = TallyDay.objects.filter(form__in=[*forms, *thinned]).order_by("key")
    for key, form in [one for one in days.values_list("key", "form") if one[0] % KEY_BASE < before_day]:
        shelf, day = divmod(key, KEY_BASE)
        with transaction.atomic():
            if any(day in span for span in goes):
                lock_shelf(shelf)
                _copy_edges(shelf, day)
                to = TallyDay.Form.EDGES
            elif form in forms and any(day in span for span in stays):
                lock_shelf(shelf)
                _delete_but_edges(shelf, day)
                to = TallyDay.Form.THINNED
            else:
                continue
            _delete_packs(shelf, day)
            TallyDay.objects.filter(key=key).update(form=to)
        done += 1
    return done


def _spans_of_parts(before_day: int) -> tuple[list[range], list[range]]:
    """Return the days that are thinned where they are, and those that go with their month.

    What there was before there were months goes too, once all of it is old; until then it is thinned as one table is.
    """
    found = [one for one in parts(MINUTES) if not one.is_default]
    spans: dict[bool, list[range]] = {True: [], False: []}
    for one in found:
        days = range(one.range[0] // MINUTES_A_DAY, one.range[1] // MINUTES_A_DAY)
        spans[one.start is not None or days.stop <= before_day].append(days)
    return (spans[False] if found else [range(KEY_BASE)]), spans[True]


def _delete_but_edges(shelf: int, day: int) -> None:
    first, minutes = day * MINUTES_A_DAY, _stored_minutes(shelf, day)
    kept = _edges(minutes, first)
    doomed = [shelf * KEY_BASE + minute for minute in minutes if minute not in kept]
    for begin in range(0, len(doomed), 500):
        _of_day(shelf, day).filter(key__in=doomed[begin : begin + 500]).delete()


def _copy_edges(shelf: int, day: int) -> None:
    minutes = _stored_minutes(shelf, day)
    kept = [shelf * KEY_BASE + minute for minute in _edges(minutes, day * MINUTES_A_DAY)]
    rows = _of_day(shelf, day).filter(key__in=kept).values_list("key", "body")
    TallyEdge.objects.bulk_create(
        [TallyEdge(key=key, body=body) for key, body in rows],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["body"],
    )


def _pack(shelf: int, day: int) -> None:
    first = day * MINUTES_A_DAY
    previous = blank()
    by_place: dict[int, list[tuple[int, Counts]]] = {}
    for minute, sheet in blocks_between(shelf, first, first + MINUTES_A_DAY):
        for place in range(PLACES):
            if sheet[MEASURED + place] != previous[MEASURED + place]:
                grown = counts_at(sheet, place) - counts_at(previous, place)
                by_place.setdefault(place, []).append((minute - first, grown))
        previous = sheet
    rows = [
        ((shelf * PLACES + place) * KEY_BASE + day, packed_day(minutes)) for place, minutes in sorted(by_place.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(UPSERT_PACK, rows)


def _delete_packs(shelf: int, day: int) -> None:
    TallyPack.objects.filter(key__in=[(shelf * PLACES + place) * KEY_BASE + day for place in range(PLACES)]).delete()


def _of_day(shelf: int, day: int) -> QuerySet[TallyBlock]:
    first = day * MINUTES_A_DAY
    low = shelf * KEY_BASE + first
    rows = TallyBlock.objects.alias(minute=F("key").bitand(MINUTE_OF_KEY)).order_by()
    return rows.filter(key__gte=low, key__lt=low + MINUTES_A_DAY, minute__gte=first, minute__lt=first + MINUTES_A_DAY)


def _stored_minutes(shelf: int, day: int) -> list[int]:
    return sorted(key % KEY_BASE for key in _of_day(shelf, day).values_list("key", flat=True))


def _edges(minutes: Iterable[int], first: int) -> set[int]:
    """Return the minutes to keep: the last before each hour, each kept minute, and each month's begin in use."""
    bounds = {first + hour * EDGE_MINUTES for hour in range(1, 25)}
    last = first + MINUTES_A_DAY
    bounds.update(KeptMinute.objects.filter(minute__gt=first, minute__lt=last).values_list("minute", flat=True))
    bounds.update(edge for edge in _month_edges(first) if first < edge < last)
    ordered, kept, position = list(minutes), set(), 0
    for bound in sorted(bounds):
        while position < len(ordered) and ordered[position] < bound:
            position += 1
        if position:
            kept.add(ordered[position - 1])
    return kept


def _month_edges(first: int) -> Iterable[int]:
    """Return where months begin around a day, in the zones of calendar windows."""
    zones = {
        calendar["zone"] for calendar in SLOVersion.objects.values_list("calendar", flat=True).distinct() if calendar
    }
    day = datetime.fromtimestamp(first * 60, UTC)
    for zone in zones:
        local = day.astimezone(ZoneInfo(zone)).replace(day=1, hour=0, minute=0)
        for month in (local, local + relativedelta(months=1)):
            yield int(month.timestamp()) // 60
