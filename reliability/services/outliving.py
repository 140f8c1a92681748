"""Minutes whose time is over: on PostgreSQL they go by month, once their edges lie in a table of their own."""

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from core.clock import database_now
from core.lifecycle import DataClass, Dropped
from core.partitions import Part, TimedTable, drop_part, outlived, parts, register_partitions
from ledger.data.custody import DataRemoved
from ledger.services import record
from reliability.domain.sheets import MINUTES_A_DAY
from reliability.models import KEY_BASE, MINUTE_OF_KEY, Backfill, TallyBlock, TallyDay

MINUTES_KEPT_FOR = timedelta(days=90)
REMOVER = "system:retention"

MINUTES = register_partitions(TimedTable(content=TallyBlock, name="Minutes of tallies"))


def drop_minutes(before: datetime) -> Dropped | None:
    """Drop the oldest month of minutes that ended before an instant, and record it; None where there are no months.

    A month goes when of each of its days only edges are left, in their own table, and no backfill goes through it.
    """
    if not parts(MINUTES):
        return None
    for part in outlived(MINUTES, before=before):
        if _is_needed(part):
            continue
        count, oldest, newest = _facts(part)
        with transaction.atomic():
            drop_part(MINUTES, part)
            # Asked again now that nobody else writes: until here somebody might have.
            needed = _is_needed(part)
            transaction.set_rollback(needed)
        if needed or not count:
            continue
        dropped = Dropped(count, oldest, newest)
        _record(part.name, dropped, before)
        return dropped
    return Dropped()


def _is_needed(part: Part) -> bool:
    start, end = part.range
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM reliability_tallyday WHERE form <> %s "  # noqa: S608 a number  # nosec B608
            f"AND (key & {KEY_BASE - 1}) >= %s AND (key & {KEY_BASE - 1}) < %s)",
            [TallyDay.Form.EDGES, start // MINUTES_A_DAY, end // MINUTES_A_DAY],
        )
        if cursor.fetchone()[0]:
            return True
    going_through = Q(since__lt=_instant(end), until__gt=_instant(start), finished_at__isnull=True)
    return Backfill.objects.filter(going_through).exists()


def _facts(part: Part) -> tuple[int, datetime | None, datetime | None]:
    minute = f"key & {MINUTE_OF_KEY}"
    name = connection.ops.quote_name(part.name)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), min({minute}), max({minute}) FROM {name}")  # noqa: S608 quoted  # nosec B608
        count, first, last = cursor.fetchone()
    return count, *(None if one is None else _instant(one) for one in (first, last))


def _instant(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _record(part: str, dropped: Dropped, before: datetime) -> None:
    record(
        DataRemoved(
            data_class=MINUTES_CLASS.key,
            count=dropped.count,
            keep_days=(database_now() - before).days,
            removed_before=before,
            oldest=dropped.oldest,
            newest=dropped.newest,
            holds=[],
            complete=True,
            files=[part],
        ),
        actor=REMOVER,
        subject=f"data-class:{MINUTES_CLASS.key}",
    )


MINUTES_CLASS = DataClass(
    key="reliability.minutes",
    name="Minutes of tallies",
    says="What each SLO counted in each minute. The sums at the end of each hour, and where an exclusion or a month "
    "of a calendar begins or ends, are kept for ever.",
    default=MINUTES_KEPT_FOR,
    floor=MINUTES_KEPT_FOR,
    # The hourly job thins them, day by day; by month they are dropped.
    old=lambda _before: TallyBlock.objects.none(),
    # Any hold keeps the class whole: then it is not asked.
    drop=lambda before, _held: drop_minutes(before),
    instead=True,
    table=MINUTES,
)
