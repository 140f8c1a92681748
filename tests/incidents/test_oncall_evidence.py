"""Who is on call is evidence: coverage of each day, and each version of a schedule; overrides leave the past alone."""

from datetime import UTC, timedelta

import pytest
from django.utils import timezone

from accounts.data import system_principal
from core.parsing import InputRefusedError
from core.periodic import run_now
from incidents.models import Schedule, ScheduleOverride, ScheduleVersion
from incidents.selectors import coverage_of, on_call_now
from incidents.services import add_override, end_override
from ledger.models import LedgerEntry
from tests.incidents.conftest import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def names(world: World) -> list[str]:
    return [person.username for person in on_call_now(schedule_slug="primary")]


def test_yesterdays_coverage_is_written_once(world: World) -> None:
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    run_now("incidents.record_coverage")
    assert not LedgerEntry.objects.filter(entry_type="oncall.covered").exists(), "the schedule is younger than a day"
    ScheduleVersion.objects.update(effective_from=today - timedelta(hours=6))
    for _ in range(2):
        run_now("incidents.record_coverage")
    entry = LedgerEntry.objects.get(entry_type="oncall.covered")
    assert entry.payload is not None
    assert (entry.payload["covered_seconds"], entry.payload["window_seconds"], entry.payload["gaps"]) == (
        21600,
        21600,
        0,
    )
    assert entry.period_end == today


def test_an_override_stands_in_from_now_and_can_be_ended(world: World) -> None:
    assert names(world) == ["alice"]
    schedule = Schedule.objects.get(slug="primary")
    now = timezone.now()
    override = add_override(
        principal=world.who("alice"),
        schedule=schedule,
        user_id=world.bob.pk,
        starts_at=now - timedelta(days=3),
        ends_at=now + timedelta(hours=2),
    )
    assert override.starts_at >= now, "the past is closed"
    assert names(world) == ["bob"]
    assert on_call_now(schedule_slug="primary")[0].why == f"on call in primary: override {override.reference}"
    end_override(principal=world.who("alice"), override=override)
    assert names(world) == ["alice"]
    assert ScheduleOverride.objects.count() == 1, "what has been stays"


def test_an_override_that_has_ended_before_it_starts_is_refused(world: World) -> None:
    schedule = Schedule.objects.get(slug="primary")
    with pytest.raises(InputRefusedError):
        add_override(
            principal=system_principal("test"),
            schedule=schedule,
            user_id=world.bob.pk,
            starts_at=timezone.now(),
            ends_at=timezone.now() - timedelta(hours=1),
        )


def test_coverage_counts_hours_of_each_person(world: World) -> None:
    schedule = Schedule.objects.get(slug="primary")
    start = timezone.now() + timedelta(hours=1)
    coverage = coverage_of(schedule=schedule, start=start, end=start + timedelta(days=2))
    assert coverage.ratio == 1
    assert coverage.per_person == {"alice": timedelta(days=2)}
