"""Who left is on call no more: the turn becomes a gap at once, what was stays, and the team is told."""

from datetime import timedelta

import pytest

from accounts.data import system_principal
from accounts.models import User
from accounts.services import deactivate_user, reopen_account
from core.clock import database_now
from core.work import drain_all
from delivery.models import Notification
from incidents.models import Schedule, ScheduleOverride, SwapRequest
from incidents.selectors import gaps_between, on_call_now, shifts_between
from incidents.services import add_override
from ledger.selectors import entries
from tests.incidents.conftest import World

ADMIN = system_principal("test")
pytestmark = pytest.mark.django_db


def test_a_leaver_leaves_a_gap_at_once_and_the_past_stays(world: World) -> None:
    schedule, now = Schedule.objects.get(), database_now()
    (person,) = on_call_now(schedule_slug=schedule.slug)
    before = shifts_between(schedule=schedule, start=now - timedelta(days=7), end=now)
    deactivate_user(principal=ADMIN, user=User.objects.get(username=person.username))
    assert on_call_now(schedule_slug=schedule.slug) == []
    later = now + timedelta(days=60)
    assert gaps_between(schedule=schedule, start=database_now(), end=later)
    assert person.username not in {
        name for shift in shifts_between(schedule=schedule, start=database_now(), end=later) for name in shift.people
    }
    assert shifts_between(schedule=schedule, start=now - timedelta(days=7), end=now) == before
    drain_all()
    assert any("gaps" in one.delivery.subject for one in Notification.objects.select_related("delivery"))
    actions = [one.payload["action"] for one in entries(subjects=[f"user:{person.username}"]) if one.payload]
    assert "oncall.leaver_taken_out" in actions
    reopen_account(principal=ADMIN, user=User.objects.get(username=person.username))
    assert [one.username for one in on_call_now(schedule_slug=schedule.slug)] == [person.username]


def test_stand_ins_and_requests_of_a_leaver_end(world: World) -> None:
    schedule, now = Schedule.objects.get(), database_now()
    (person,) = on_call_now(schedule_slug=schedule.slug)
    other = User.objects.exclude(username=person.username).exclude(grants__role="admin").order_by("pk").last()
    assert other is not None
    add_override(principal=ADMIN, schedule=schedule, user_id=other.pk, starts_at=now, ends_at=now + timedelta(days=1))
    SwapRequest.objects.create(
        schedule=schedule, requester=other, starts_at=now, ends_at=now + timedelta(days=1), reason="x"
    )
    assert [one.username for one in on_call_now(schedule_slug=schedule.slug)] == [other.username]
    deactivate_user(principal=ADMIN, user=other)
    drain_all()
    assert [one.username for one in on_call_now(schedule_slug=schedule.slug)] == [person.username]
    assert SwapRequest.objects.get().state == SwapRequest.State.CANCELLED
    assert ScheduleOverride.objects.get().ends_at <= database_now()
