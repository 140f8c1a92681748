"""What the site gave up is listed, tried again, or set aside by an administrator."""

import json
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.giving_up import given_up_rows
from core.work import PeriodicJob, dead_counts, drain
from delivery.data import Channel
from delivery.models import Delivery
from delivery.services import send
from drivers.services.site_database import SiteError
from drivers.services.site_given_up import given_up, settle_given_up
from ledger.models import LedgerEntry

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
QUEUE = "core.periodic"


@pytest.fixture
def row() -> PeriodicJob:
    now = timezone.now()
    error = "Traceback …\nValueError: the store at https://me:planted-secret@example.org is gone"
    return PeriodicJob.objects.create(name="ledger.seal", due_at=now, dead_at=now, attempts=10, last_error=error)


def test_it_is_listed_with_its_error_and_tried_again(row: PeriodicJob, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError):
        call_command("site", "given-up", "--format", "json")
    [one] = json.loads(capsys.readouterr().out)
    assert (one["queue"], one["key"], one["attempts"]) == (QUEUE, row.pk, 10)
    assert "ValueError" in one["error"]
    assert "planted-secret" not in one["error"]
    call_command("site", "given-up", "--queue", QUEUE, "--retry", "--reason", "the store is back")
    assert dead_counts() == {}
    assert drain(QUEUE) == 1
    recorded = LedgerEntry.objects.get(subject="site:work").payload
    assert recorded is not None
    assert (recorded["action"], recorded["reason"]) == ("work.tried_again", "the store is back")


def test_what_is_set_aside_is_kept_and_no_longer_counted(row: PeriodicJob) -> None:
    with pytest.raises(SiteError, match="say why"):
        settle_given_up(principal=SITE, queue=QUEUE, keys=[row.pk], again=False)
    assert settle_given_up(principal=SITE, queue=QUEUE, keys=[row.pk], again=False, reason="made by hand") == 1
    assert (dead_counts(), given_up_rows(QUEUE), drain(QUEUE)) == ({}, [], 0)
    row.refresh_from_db()
    assert row.dead_at is not None


def test_a_message_is_sent_again_where_messages_are(row: PeriodicJob) -> None:
    message = send(channel=Channel.EMAIL, address="a@example.org", idempotency_key="k", subject="s", text="t")
    Delivery.objects.filter(pk=message.pk).update(dead_at=timezone.now(), state="dead")
    with pytest.raises(SiteError, match="delivery redeliver"):
        settle_given_up(principal=SITE, queue="delivery.ordinary", keys=[message.pk], again=True)
    assert {one.queue for one in given_up(principal=SITE)} == {QUEUE, "delivery.ordinary"}


def test_only_an_administrator_sees_it_and_an_unknown_queue_is_refused(row: PeriodicJob) -> None:
    viewer = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=viewer, role=Role.VIEWER)
    with pytest.raises(PermissionDenied):
        given_up(principal=principal_for_user(user=viewer))
    with pytest.raises(SiteError, match="Queues: "):
        given_up(principal=SITE, queue="nothing")


def test_the_command_wants_one_thing_at_a_time(capsys: Any) -> None:
    for wrong in (["--retry"], ["--retry", "--set-aside", "--queue", QUEUE], ["--queue", "nothing"]):
        with pytest.raises(CommandError):
            call_command("site", "given-up", *wrong)
    assert "not both" in capsys.readouterr().err
