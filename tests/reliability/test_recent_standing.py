"""Very many SLOs are sorted and filtered by how they stood a minute ago; what is shown is as of now."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.services import create_user, grant_role
from reliability.data import BudgetState
from reliability.domain.budgets import Counts
from reliability.models import SLO, BudgetFigures, SLOVersion
from reliability.selectors import are_many, minute_of, recent, running_out, worst_states
from reliability.services import update_standings
from reliability.services.tallying import add_to_tallies

OWNER = system_principal("test")

pytestmark = pytest.mark.django_db


@pytest.fixture
def signed_in() -> Client:
    user = create_user(principal=OWNER, username="olga", password=None)
    grant_role(principal=OWNER, user=user, role=Role.ADMIN)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def _many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MANY", 0)


def count(version: SLOVersion, *, bad: int) -> None:
    minute = minute_of(timezone.now() - timedelta(minutes=1))
    add_to_tallies({(version.tally_id, minute): Counts(good=100, bad=bad)})


def page(client: Client, **asked: str) -> str:
    return client.get("/slos/", asked).content.decode()


def test_five_hundred_slos_are_not_many(version: SLOVersion) -> None:
    assert not are_many(SLO.objects.filter(pk=version.slo_id))


@pytest.mark.usefixtures("_many")
def test_what_was_never_reckoned_is_unknown(version: SLOVersion) -> None:
    assert worst_states(SLO.objects.all()) == {version.slo.service_id: BudgetState.UNKNOWN}


@pytest.mark.usefixtures("_many")
def test_a_spent_budget_is_kept_as_running_out(version: SLOVersion) -> None:
    count(version, bad=100)
    update_standings()
    assert worst_states(SLO.objects.all()) == {version.slo.service_id: BudgetState.BREACHED}
    assert list(running_out(SLO.objects.all(), within=timedelta(days=7))) == [version.slo]


def test_figures_that_do_not_move_are_written_once(version: SLOVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    count(version, bad=1)
    update_standings(now=now)
    before = BudgetFigures.objects.get()
    update_standings(now=now + timedelta(seconds=1))
    after = BudgetFigures.objects.get()
    assert (before.state, before.remaining_low) == (after.state, after.remaining_low)
    assert after.reckoned_at > before.reckoned_at  # the one row that says when all were reckoned


@pytest.mark.usefixtures("_many")
def test_the_list_filters_by_what_is_kept_and_shows_what_is_now(version: SLOVersion, signed_in: Client) -> None:
    client = signed_in
    count(version, bad=0)
    update_standings()
    count(version, bad=100)
    assert version.slo.name in page(client, state="OK")
    assert "BREACHED" in page(client, state="OK")
    assert version.slo.name not in page(client, state="BREACHED", sort="-left")
    update_standings()
    assert version.slo.name in page(client, state="BREACHED", sort="-left")
    assert version.slo.name in page(client, group="service")


@pytest.mark.usefixtures("_many", "version")
def test_the_list_of_many_says_since_when_its_order_is(signed_in: Client) -> None:
    assert "no scheduler has run" in page(signed_in)
    update_standings()
    assert "Sorted and filtered by how they stood" in page(signed_in)


@pytest.mark.usefixtures("_many")
def test_a_list_of_many_asks_no_more_queries_for_more_slos(version: SLOVersion, signed_in: Client) -> None:
    update_standings()
    page(signed_in)
    with CaptureQueriesContext(connection) as before:
        page(signed_in)
    SLO.objects.bulk_create([SLO(slug=f"more-{n}", name=f"More {n}", service=version.slo.service) for n in range(60)])
    with CaptureQueriesContext(connection) as after:
        page(signed_in)
    assert len(after) <= len(before) + 1
