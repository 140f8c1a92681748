"""What becomes of old minutes: a day that is over is packed by tally; after ninety days only edges are kept."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction

from core.clock import database_now
from reliability.domain.budgets import Counts
from reliability.domain.sheets import MEASURED, MINUTES_A_DAY, PLACES, blank, counts_at, packed_day
from reliability.models import (
    KEY_BASE,
    Exemplar,
    IntakeProblem,
    KeptMinute,
    SLOVersion,
    TallyBlock,
    TallyDay,
    TallyPack,
)
from reliability.selectors.shelves import blocks_between
from reliability.services.tallying import UPSERT_PACK, lock_shelf

MINUTES_KEPT_FOR = timedelta(days=90)
EDGE_MINUTES = 60


def look_after_tallies() -> None:
    """Pack the days that are over, thin those beyond the horizon, and drop what is only kept as long (hourly)."""
    today = int(database_now().timestamp()) // 86_400
    pack_days(before_day=today)
    thin(before_day=today - MINUTES_KEPT_FOR.days)
    Exemplar.objects.filter(minute__lt=(today - MINUTES_KEPT_FOR.days) * MINUTES_A_DAY).delete()
    IntakeProblem.objects.filter(last_at__lt=database_now() - MINUTES_KEPT_FOR).delete()


def pack_days(*, before_day: int) -> int:
    """Pack each shelf's days before `before_day` that are not packed, or not any more; returns how many."""
    done = 0
    keys = TallyDay.objects.filter(form=TallyDay.Form.BLOCKS).order_by("key").values_list("key", flat=True)
    for key in [one for one in keys if one % KEY_BASE < before_day]:
        with transaction.atomic():
            shelf, day = divmod(key, KEY_BASE)
            lock_shelf(shelf)
            _pack(shelf, day)
            TallyDay.objects.filter(key=key).update(form=TallyDay.Form.PACKED)
        done += 1
    return done


def thin(*, before_day: int) -> int:
    """Delete the minutes of days before `before_day` but the last of each hour and what something is bounded by.

    Sums run on, so that deleting one changes no window whose edges are kept. Returns how many rows went.
    """
    gone = 0
    oldest = TallyDay.objects.filter(form=TallyDay.Form.PACKED).order_by("key")
    keys = [key for key in oldest.values_list("key", flat=True) if key % KEY_BASE < before_day]
    for key in keys:
        shelf, day = divmod(key, KEY_BASE)
        first = day * MINUTES_A_DAY
        with transaction.atomic():
            lock_shelf(shelf)
            minutes = _stored_minutes(shelf, first)
            kept = _edges(minutes, first)
            doomed = [shelf * KEY_BASE + minute for minute in minutes if minute not in kept]
            for begin in range(0, len(doomed), 500):
                gone += TallyBlock.objects.filter(key__in=doomed[begin : begin + 500]).delete()[0]
            _delete_packs(shelf, day)
            TallyDay.objects.filter(key=key).update(form=TallyDay.Form.THINNED)
    return gone


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


def _stored_minutes(shelf: int, first: int) -> list[int]:
    base = shelf * KEY_BASE
    keys = TallyBlock.objects.filter(key__gte=base + first, key__lt=base + first + MINUTES_A_DAY)
    return [key - base for key in keys.order_by("key").values_list("key", flat=True)]


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
