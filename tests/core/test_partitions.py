"""Tables that PostgreSQL keeps by month: opened ahead, dropped whole, converted in place and back."""

import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from core.clock import database_now
from core.partition_ranges import first_key, following, month_at, month_of
from core.partitioning import Conversion, keep_by_month, keep_in_one
from core.partitions import (
    OwnedTable,
    Part,
    drop_part,
    is_partitioned,
    open_months,
    outlived,
    parts,
    problems,
    register_partitions,
)
from core.periodic import run_now
from ledger.data.access import AuditedAction
from ledger.models import EntryContent, LedgerEntry
from ledger.services import PAYLOADS, record
from ledger.services.guarding import install_guard, remove_guard
from tests.engines import by_month
from tests.threads import in_threads

LEDGER = Conversion(
    table="ledger_entrycontent",
    key="entry_id",
    owner="ledger_ledgerentry",
    before=lambda: remove_guard(connection),
    after=lambda: install_guard(connection),
)


def note(number: int = 1) -> LedgerEntry:
    return record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{number}")


def part_with(key: int) -> Part:
    return next(one for one in parts(PAYLOADS) if not one.is_default and one.range[0] <= key < one.range[1])


def later(months: int) -> datetime:
    """An instant so many months on from the last that numbers have gone to, whatever tests before this one did."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM ledger_ledgerentry_id_seq")
        reached = month_of(cursor.fetchone()[0])
    month = following(max(month_at(database_now()), reached or date(1970, 2, 1)), months)
    return datetime(month.year, month.month, 15, tzinfo=UTC)


def test_a_month_has_numbers_of_its_own() -> None:
    assert [month_of(first_key(month)) for month in (date(2026, 12, 1), date(2027, 1, 1))] == [
        date(2026, 12, 1),
        date(2027, 1, 1),
    ]
    assert month_of(first_key(date(2027, 1, 1)) - 1) == date(2026, 12, 1)
    assert month_of(4_000_000) is None
    assert month_at(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == date(2026, 12, 1)


def test_a_table_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register_partitions(OwnedTable(content=EntryContent, owner=LedgerEntry, at="recorded_at", name="again"))


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="there is one table only")
def test_on_sqlite_nothing_is_kept_by_month() -> None:
    assert not is_partitioned("ledger_entrycontent")
    assert (open_months(PAYLOADS, now=database_now()), parts(PAYLOADS), problems(PAYLOADS, now=database_now())) == (
        [],
        [],
        [],
    )
    keep_by_month(LEDGER)
    keep_in_one(LEDGER)
    run_now("core.partitions")


@by_month
@pytest.mark.django_db
@pytest.mark.database
def test_at_the_turn_of_the_month_numbers_go_on_in_a_part_of_its_own() -> None:
    before, now = note(), later(1)
    open_months(PAYLOADS, now=now)
    after = note()
    assert month_of(after.pk) == month_at(now)
    assert part_with(after.pk).name != part_with(before.pk).name
    assert problems(PAYLOADS, now=now) == []
    assert [one.month for one in parts(PAYLOADS)][-4:-1] == [following(month_at(now), by) for by in range(3)]
    assert open_months(PAYLOADS, now=now) == [], "a second turn finds nothing to do"
    assert note().pk == after.pk + 1


@by_month
@pytest.mark.django_db
@pytest.mark.database
def test_a_turn_that_comes_late_refuses_nothing_and_is_made_up_for() -> None:
    install_guard(connection)
    now = later(5)
    assert "no part for this month" in problems(PAYLOADS, now=now)[0]
    written = [note().pk]
    with connection.cursor() as cursor:
        # Somebody moved the numbers on, and no part was made for them.
        cursor.execute("SELECT setval('ledger_ledgerentry_id_seq', %s)", [first_key(following(month_at(now), 4))])
    written += [note().pk, note().pk]
    assert "rows that lie in no month" in " ".join(problems(PAYLOADS, now=now))
    open_months(PAYLOADS, now=now)
    assert problems(PAYLOADS, now=now) == []
    assert set(EntryContent.objects.values_list("pk", flat=True)) >= set(written)
    assert part_with(written[-1]).month == following(month_at(now), 4)
    assert note().pk > written[-1], "numbers never go back"
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {part_with(written[-1]).name}")


@by_month
@pytest.mark.django_db
@pytest.mark.database
def test_a_filled_table_is_converted_in_place_and_back() -> None:
    open_months(PAYLOADS, now=later(1))
    notes = [note(number).pk for number in range(3)]
    open_months(PAYLOADS, now=later(1))
    notes.append(note().pk)
    kept = list(EntryContent.objects.order_by("pk").values_list("pk", "nonce", "body"))
    keep_in_one(LEDGER)
    assert not is_partitioned("ledger_entrycontent")
    assert list(EntryContent.objects.order_by("pk").values_list("pk", "nonce", "body")) == kept
    names = index_names()
    notes.append(note().pk)
    keep_by_month(LEDGER)
    keep_by_month(LEDGER)
    assert is_partitioned("ledger_entrycontent")
    assert list(EntryContent.objects.order_by("pk").values_list("pk", flat=True)) == [
        *(pk for pk, _, _ in kept),
        notes[-1],
    ]
    assert {part_with(pk).name for pk in notes} == {"ledger_entrycontent_before"}, "no row was moved"
    assert index_names() == names
    now = later(1)
    open_months(PAYLOADS, now=now)
    assert part_with(note().pk).month == month_at(now)
    assert problems(PAYLOADS, now=now) == []
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        EntryContent.objects.update(body=b"{}")
    remove_guard(connection)


def index_names() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'ledger_entrycontent' ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]


@by_month
@pytest.mark.django_db
@pytest.mark.database
def test_only_a_month_that_is_over_and_wholly_old_may_be_dropped() -> None:
    start = later(1)
    open_months(PAYLOADS, now=start)
    old = note()
    end = datetime.combine(following(month_at(start)), datetime.min.time(), UTC)
    assert part_with(old.pk) not in outlived(PAYLOADS, before=end + timedelta(days=1)), "numbers still go there"
    open_months(PAYLOADS, now=end)
    part = part_with(old.pk)
    assert part not in outlived(PAYLOADS, before=end - timedelta(days=1))
    assert part in outlived(PAYLOADS, before=end)
    LedgerEntry.objects.filter(pk=old.pk).update(recorded_at=end + timedelta(days=9))
    assert part not in outlived(PAYLOADS, before=end), "one of its rows is not old enough"
    LedgerEntry.objects.filter(pk=old.pk).update(recorded_at=start)
    kept, young = note(), note()
    drop_part(PAYLOADS, part, keep=[])
    assert {kept.pk, young.pk} <= set(EntryContent.objects.values_list("pk", flat=True))
    assert not EntryContent.objects.filter(pk=old.pk).exists()
    with pytest.raises(LookupError):
        drop_part(PAYLOADS, part)


@by_month
@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_writers_lose_nothing_while_two_schedulers_open_months_and_old_ones_go() -> None:
    written: list[int] = []
    over = threading.Event()
    turns = [later(by) for by in range(1, 6)]

    def write() -> None:
        while not over.is_set():
            with transaction.atomic():
                written.append(note(len(written)).pk)

    def schedule() -> None:
        for now in turns:
            for _ in range(50):
                try:
                    open_months(PAYLOADS, now=now)
                    break
                except OperationalError:
                    continue

    def all_turns() -> None:
        try:
            assert in_threads(schedule, schedule) == []
        finally:
            over.set()

    assert in_threads(write, write, all_turns) == []
    assert len(written) == len(set(written)) == EntryContent.objects.filter(pk__in=written).count()
    assert problems(PAYLOADS, now=turns[-1]) == []
    assert month_of(max(note().pk, *written)) == month_at(turns[-1])
    names = [one.name for one in parts(PAYLOADS)]
    assert len(names) == len(set(names))


KILLED = """
import os, signal, sys
import django
django.setup()
from datetime import datetime
from django.db import connection, transaction
from core import partitions
from ledger.services import PAYLOADS

connection.settings_dict["NAME"] = sys.argv[1]
step, when, at = sys.argv[2], datetime.fromisoformat(sys.argv[3]), int(sys.argv[4])
run, done = partitions.run, []

def run_and_die(statement):
    run(statement)
    done.append(statement)
    if len(done) == at:
        os.kill(os.getpid(), signal.SIGKILL)

partitions.run = run_and_die
if step == "open":
    partitions.open_months(PAYLOADS, now=when)
else:
    with transaction.atomic():
        partitions.drop_part(PAYLOADS, partitions.outlived(PAYLOADS, before=when)[-1], keep=[])
"""


@by_month
@pytest.mark.django_db(transaction=True)
@pytest.mark.database
@pytest.mark.integration
@pytest.mark.parametrize(("step", "at"), [("open", 3), ("drop", 2)])
def test_a_process_that_is_killed_half_way_leaves_all_as_it_was(step: str, at: int) -> None:
    first = later(1)
    open_months(PAYLOADS, now=first)
    entry = note()
    second = later(1)
    open_months(PAYLOADS, now=second)
    if step == "open":
        second = later(6)
    before = described()
    name = str(connection.settings_dict["NAME"])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, name, step, second.replace(day=1).isoformat(), str(at)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    assert described() == before
    assert EntryContent.objects.filter(pk=entry.pk).exists()
    if step == "open":
        open_months(PAYLOADS, now=second)
        assert problems(PAYLOADS, now=second) == []
    else:
        with transaction.atomic():
            drop_part(PAYLOADS, part_with(entry.pk))
        assert not EntryContent.objects.filter(pk=entry.pk).exists()


def described() -> list[tuple[Any, ...]]:
    return [(one.name, one.range) for one in parts(PAYLOADS)]
