"""Minutes of tallies on PostgreSQL: kept by month, thinned to edges of their own, and dropped as a whole."""

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.data import system_principal
from core.partition_ranges import following, month_at, month_start
from core.partitions import Part, drop_part, is_partitioned, open_between, open_months, parts, problems
from custody.services import remove_old_data, request_hold, set_retention
from ledger.models import LedgerEntry
from reliability.domain.budgets import Counts
from reliability.models import KEY_BASE, Backfill, KeptMinute, SLOVersion, TallyBlock, TallyDay, TallyEdge
from reliability.selectors import window_counts
from reliability.selectors.shelves import _LAST_BLOCK, _with_wanted  # what PostgreSQL is asked
from reliability.selectors.tallies import minute_of, tally_minutes
from reliability.services.outliving import MINUTES, drop_minutes
from reliability.services.packing import look_after_tallies, pack_days, thin
from reliability.services.tallying import add_to_tallies
from tests.engines import by_month
from tests.threads import in_threads

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ADMIN = system_principal("test")
DAY = 1440
KEY = "reliability.minutes"


def months_ago(number: int) -> date:
    return following(month_at(timezone.now()), -number)


def first_minute(month: date) -> int:
    return minute_of(month_start(month))


def day_of(month: date) -> int:
    return first_minute(month) // DAY


def part_with(minute: int) -> Part | None:
    return next((one for one in parts(MINUTES) if not one.is_default and one.range[0] <= minute < one.range[1]), None)


@pytest.fixture
def month(version: SLOVersion) -> date:
    """A month that ended more than ninety days ago, with a part of its own; what was there before months has gone."""
    found = months_ago(6)
    drop_part(MINUTES, next(one for one in parts(MINUTES) if one.start is None))
    open_between(MINUTES, month_start(found), month_start(following(found)))
    open_months(MINUTES, now=timezone.now())
    return found


def write(version: SLOVersion, start: int, minutes: int = DAY, step: int = 7) -> dict[int, Counts]:
    """Count something in every so many minutes."""
    counted = {start + ago: Counts(good=ago + 1, bad=ago % 3) for ago in range(0, minutes, step)}
    add_to_tallies({(version.tally_id, minute): counts for minute, counts in counted.items()})
    return counted


def windows_between(edges: list[int]) -> list[tuple[int, int]]:
    return [(low, high) for low in edges for high in edges if low < high]


@by_month
def test_a_look_up_asks_the_one_part_that_has_the_minute(version: SLOVersion, month: date) -> None:
    first = first_minute(month)
    write(version, first)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + _with_wanted(_LAST_BLOCK, [(first, first + 90)]))
        lines = [row[0] for row in cursor.fetchall()]
    scans = [line for line in lines if "Scan" in line and "reliability_tallyminute" in line]
    asked = [line for line in scans if "never executed" not in line]
    assert asked
    assert all(f"reliability_tallyminute_{month:%Y_%m}" in line for line in asked), "\n".join(lines)


@by_month
def test_a_minute_is_written_once_and_lies_in_its_month(version: SLOVersion, month: date) -> None:
    start = first_minute(following(month)) - 3
    counted = write(version, start, minutes=6, step=1)
    key = TallyBlock.objects.order_by("key").values_list("key", flat=True)[0]
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM reliability_tallyminute GROUP BY 1 ORDER BY 1")
        assert cursor.fetchall() == [
            (f"reliability_tallyminute_{one:%Y_%m}", 3) for one in (month, following(month))
        ]  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        TallyBlock.objects.create(key=key, body=b"")
    assert dict(tally_minutes(version.tally_id, start_minute=start, end_minute=start + 6)) == {
        minute: Counts(one.good, one.bad, minutes_measured=1) for minute, one in counted.items()
    }


@by_month
@given(
    added=st.lists(
        st.tuples(st.integers(0, 3 * DAY - 1), st.integers(0, 10**6), st.integers(0, 50)), min_size=1, max_size=25
    ),
    late=st.lists(st.tuples(st.integers(0, 3 * DAY - 1), st.integers(0, 99)), max_size=4),
    named=st.lists(st.integers(1, 3 * DAY - 1), max_size=3),
)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_window_that_is_kept_reads_the_same_before_and_after_its_month_has_gone(
    version: SLOVersion,
    month: date,
    added: list[tuple[int, int, int]],
    late: list[tuple[int, int]],
    named: list[int],
) -> None:
    base = first_minute(following(month)) - 2 * DAY
    with transaction.atomic():
        for offset, good, bad in added:
            add_to_tallies({(version.tally_id, base + offset): Counts(good, bad)})
        pack_days(before_day=base // DAY + 2)
        KeptMinute.objects.bulk_create([KeptMinute(minute=base + one, reason="x") for one in set(named)])
        edges = sorted({base - 5, *(base + 60 * hour for hour in range(0, 74, 5)), *(base + one for one in named)})
        windows = windows_between(edges)
        ids = [version.tally_id]

        def look() -> dict[tuple[int, tuple[int, int]], Counts]:
            return window_counts(ids, windows)

        before = look()
        thin(before_day=base // DAY + 3)
        assert look() == before, "thinned"
        end = month_start(following(month))
        dropped = drop_minutes(end)
        assert dropped is not None
        assert part_with(base) is None
        assert dropped.count == sum(offset < 2 * DAY for offset in {one[0] for one in added}) or dropped.count > 0
        assert look() == before, "dropped"
        expected = dict(before)
        for offset, good in late:
            # What comes for a day that has gone brings the day back.
            add_to_tallies({(version.tally_id, base + offset): Counts(good)})
            for window in windows:
                if window[0] <= base + offset < window[1]:
                    expected[ids[0], window] = expected[ids[0], window] + Counts(good)
        found = look()
        assert {key: (one.good, one.bad) for key, one in found.items()} == {
            key: (one.good, one.bad) for key, one in expected.items()
        }
        open_months(MINUTES, now=timezone.now())
        assert look() == found
        thin(before_day=base // DAY + 3)
        assert look() == found
        drop_minutes(end)
        assert part_with(base) is None
        assert look() == found
        assert not TallyDay.objects.exclude(form=TallyDay.Form.EDGES).exists()
        transaction.set_rollback(True)


@by_month
def test_a_month_goes_when_only_edges_are_left_of_each_of_its_days(version: SLOVersion, month: date) -> None:
    first = first_minute(month)
    write(version, first)
    write(version, first + 5 * DAY)
    end = month_start(following(month))
    assert drop_minutes(end - timedelta(minutes=1)).count == 0  # type: ignore[union-attr]
    thin(before_day=first // DAY + 1)
    assert drop_minutes(end).count == 0, "a day is whole"  # type: ignore[union-attr]
    thin(before_day=first // DAY + 6)
    assert TallyEdge.objects.count() == 48
    row = Backfill.objects.create(
        version=version,
        since=month_start(month),
        until=end,
        position=month_start(month),
        due_at=timezone.now(),
    )
    assert drop_minutes(end).count == 0, "a backfill goes through it"  # type: ignore[union-attr]
    row.delete()
    minutes = tally_minutes(version.tally_id, start_minute=first, end_minute=first + DAY)
    assert len(minutes) == 206, "all that is left is shown until it goes, once"
    assert drop_minutes(end).count == 412  # type: ignore[union-attr]
    assert part_with(first) is None
    assert len(tally_minutes(version.tally_id, start_minute=first, end_minute=first + DAY)) == 24


@by_month
def test_the_recurring_jobs_thin_and_drop_and_write_down_what_went(version: SLOVersion, month: date) -> None:
    first = first_minute(month)
    write(version, first)
    hold = request_hold(principal=ADMIN, kind="class", target=KEY, reason="case 7")
    look_after_tallies()
    remove_old_data()
    assert TallyDay.objects.get().form == TallyDay.Form.BLOCKS, "held"
    assert TallyBlock.objects.count() == 206
    hold.delete()
    set_retention(principal=ADMIN, key=KEY, keep_days=400, reason="policy 9")
    look_after_tallies()
    remove_old_data()
    assert (TallyDay.objects.get().form, TallyBlock.objects.count()) == (TallyDay.Form.PACKED, 206), "kept longer"
    set_retention(principal=ADMIN, key=KEY, keep_days=90, reason="policy 10")
    look_after_tallies()
    assert (TallyBlock.objects.count(), TallyEdge.objects.count()) == (206, 24)
    remove_old_data()
    assert (TallyBlock.objects.count(), TallyEdge.objects.count()) == (0, 24)
    (said,) = [
        one.payload
        for one in LedgerEntry.objects.filter(entry_type="data.removed")
        if one.payload and one.payload["data_class"] == KEY
    ]
    assert (said["count"], said["files"]) == (206, [f"reliability_tallyminute_{month:%Y_%m}"])
    look_after_tallies()
    remove_old_data()
    assert TallyEdge.objects.count() == 24, "kept for ever"


def test_a_hold_keeps_minutes_that_are_thinned_one_by_one(version: SLOVersion) -> None:
    first = first_minute(months_ago(6))
    write(version, first)
    hold = request_hold(principal=ADMIN, kind="class", target=KEY, reason="case 7")
    look_after_tallies()
    remove_old_data()
    assert TallyBlock.objects.count() == 206
    hold.delete()
    look_after_tallies()
    remove_old_data()
    assert (TallyBlock.objects.count(), TallyDay.objects.get().form) == (24, TallyDay.Form.THINNED)
    write(version, first, minutes=30, step=1)
    look_after_tallies()
    assert TallyBlock.objects.count() == 24, "what came late is thinned too"


@by_month
def test_what_was_there_before_months_goes_too_once_all_of_it_is_old(version: SLOVersion) -> None:
    (first_part,) = [one for one in parts(MINUTES) if one.start is None and not one.is_default]
    assert first_part.end is not None
    start = first_part.end - DAY
    write(version, start - 40 * DAY)
    thin(before_day=start // DAY - 30)
    assert TallyDay.objects.get().form == TallyDay.Form.THINNED
    write(version, start)
    windows = windows_between([start - 40 * DAY, start - 40 * DAY + 120, start, start + 600, start + DAY])
    before = window_counts([version.tally_id], windows)
    thin(before_day=start // DAY + 1)
    assert set(TallyDay.objects.values_list("form", flat=True)) == {TallyDay.Form.EDGES}
    assert drop_minutes(datetime.fromtimestamp(first_part.end * 60, UTC)).count == 24 + 206  # type: ignore[union-attr]
    assert window_counts([version.tally_id], windows) == before
    assert TallyEdge.objects.count() == 48


@by_month
def test_a_job_that_comes_late_loses_nothing(version: SLOVersion, month: date) -> None:
    for one in parts(MINUTES):
        if one.month and one.month >= month_at(timezone.now()):
            drop_part(MINUTES, one)
    now = minute_of(timezone.now())
    counted = write(version, now - 30, minutes=30)
    assert problems(MINUTES, now=timezone.now())
    key = TallyBlock.objects.values_list("key", flat=True)[0]
    with pytest.raises(IntegrityError), transaction.atomic():
        TallyBlock.objects.create(key=key, body=b"")
    open_months(MINUTES, now=timezone.now())
    assert problems(MINUTES, now=timezone.now()) == []
    assert part_with(now) is not None
    assert [minute for minute, _ in tally_minutes(version.tally_id, start_minute=now - 30, end_minute=now)] == list(
        counted
    )


@by_month
def test_the_table_is_converted_in_place_and_back_while_the_release_before_goes_on(version: SLOVersion) -> None:
    migration = importlib.import_module("reliability.migrations.0019_minutes_by_month")
    editor = connection.schema_editor(collect_sql=False)
    now = minute_of(timezone.now())
    month = following(month_at(timezone.now()), 3)
    open_between(MINUTES, month_start(month), month_start(month))
    old, ahead = now - 100 * DAY, first_minute(month)
    write(version, old)
    write(version, now - 60, minutes=60)
    write(version, ahead)
    thin(before_day=ahead // DAY + 1)
    assert set(TallyDay.objects.values_list("form", flat=True)) == {TallyDay.Form.EDGES}
    edges = [old - 1, old, old + 600, now - 60, now, ahead, ahead + 120, ahead + DAY]
    windows = windows_between([one // 60 * 60 for one in edges])
    before = window_counts([version.tally_id], windows)
    migration.in_one(None, editor)
    assert not is_partitioned("reliability_tallyminute")
    assert TallyEdge.objects.count() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM reliability_tallyblock")
        kept = cursor.fetchone()[0]
    TallyDay.objects.filter(key__gte=0).update(form=TallyDay.Form.BLOCKS)
    migration.by_month(None, editor)
    migration.by_month(None, editor)
    assert window_counts([version.tally_id], windows) == before
    assert TallyBlock.objects.count() == kept
    assert next(one.name for one in parts(MINUTES)) == "reliability_tallyblock"
    (key, body), *_ = TallyBlock.objects.order_by("-key").values_list("key", "body")
    with connection.cursor() as cursor:
        # As the release before writes.
        for number in (key, key - 1):
            cursor.execute(
                "INSERT INTO reliability_tallyblock (key, body) VALUES (%s, %s) "
                "ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                [number, bytes(body)],
            )
    assert bytes(TallyBlock.objects.get(key=key - 1).body) == bytes(body)
    assert TallyBlock.objects.count() == kept + 1


def ahead_of_all(number: int) -> date:
    """A month that no test before this one has made a part for."""
    last = max(one.month for one in parts(MINUTES) if one.month)
    return following(last, number)


@by_month
@pytest.mark.django_db(transaction=True)
def test_writers_and_readers_go_on_while_months_are_made_and_dropped(version: SLOVersion) -> None:
    """Two months, written to all the time, are thinned and dropped again and again; every window stays right."""
    month = ahead_of_all(1)
    base, tally = first_minute(following(month)) - DAY, version.tally_id
    written: dict[int, int] = {}
    over, dropped = threading.Event(), list[int]()
    lock = threading.Lock()

    def write_on(seed: int) -> Callable[[], None]:
        def go() -> None:
            number = seed
            while not over.is_set():
                number += 1
                minute = base + (number * 97) % (2 * DAY)
                with transaction.atomic():
                    add_to_tallies({(tally, minute): Counts(good=1)})
                with lock:
                    written[minute] = written.get(minute, 0) + 1

        return go

    def read_on() -> None:
        while not over.is_set():
            with lock:
                least = sum(written.values())
            window = base - 5, base + 3 * DAY
            found = window_counts([tally], [window])[tally, window]
            assert found.good >= least

    def schedule() -> None:
        try:
            end = month_start(following(month, 2))
            for _ in range(25):
                for step in (
                    lambda: open_between(MINUTES, month_start(month), month_start(following(month))),
                    lambda: open_months(MINUTES, now=timezone.now()),
                    lambda: thin(before_day=base // DAY + 3),
                    lambda: dropped.append(getattr(drop_in_one(end), "count", 0)),
                ):
                    try:
                        step()
                    except DatabaseError:
                        continue
        finally:
            over.set()

    assert in_threads(write_on(0), write_on(1000), read_on, schedule) == []
    found = window_counts([tally], [(base, base + 2 * DAY)])[tally, (base, base + 2 * DAY)]
    assert found.good == sum(written.values())
    assert any(dropped), "a month went while it was written to"
    keys = list(TallyBlock.objects.values_list("key", flat=True))
    assert len(keys) == len(set(keys)), "no minute is there twice"
    open_months(MINUTES, now=timezone.now())
    assert problems(MINUTES, now=timezone.now()) == []


def drop_in_one(end: datetime) -> object:
    with transaction.atomic():
        return drop_minutes(end)


KILLED = """
import os, signal, sys
import django
django.setup()
from datetime import datetime
from django.db import connection, transaction
from core import partitions
from reliability.services.outliving import drop_minutes

connection.settings_dict["NAME"] = sys.argv[1]
run, done = partitions.run, []

def run_and_die(statement):
    run(statement)
    done.append(statement)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

partitions.run = run_and_die
with transaction.atomic():
    drop_minutes(datetime.fromisoformat(sys.argv[2]))
"""


@by_month
@pytest.mark.django_db(transaction=True)
@pytest.mark.integration
def test_a_process_that_is_killed_in_the_middle_of_a_drop_leaves_all_as_it_was(version: SLOVersion) -> None:
    month = ahead_of_all(1)
    open_between(MINUTES, month_start(month), month_start(month))
    first = first_minute(month)
    write(version, first)
    thin(before_day=first // DAY + 1)
    end = month_start(following(month))
    before = [(one.name, one.range) for one in parts(MINUTES)]
    windows = windows_between([first, first + 60, first + 300, first + DAY])
    sums = window_counts([version.tally_id], windows)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(connection.settings_dict["NAME"]), end.isoformat()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    assert [(one.name, one.range) for one in parts(MINUTES)] == before
    assert TallyBlock.objects.filter(key__lt=KEY_BASE * 10**6).count() == 206
    assert drop_in_one(end)
    assert part_with(first) is None
    assert window_counts([version.tally_id], windows) == sums
