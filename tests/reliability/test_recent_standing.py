"""Very many SLOs are sorted and filtered by how they stood a minute ago; what is shown is as of now."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.services import create_team, create_user, grant_role
from catalog.models import Service
from reliability.data import BudgetState
from reliability.domain.budgets import Counts
from reliability.models import SLO, BudgetFigures, SLOVersion
from reliability.selectors import are_many, minute_of, recent, running_out, worst_states
from reliability.services import update_standings
from reliability.services.tallying import add_to_tallies
from reliability.views.slos import SLOListView

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


@pytest.fixture
def six(version: SLOVersion) -> list[SLO]:
    """Return six SLOs of two teams' services and of one without a team; of the last nothing is kept."""
    alpha, beta = (create_team(principal=OWNER, slug=slug, name=slug.capitalize()) for slug in ("alpha", "beta"))
    environment = version.slo.service.environment
    services = [
        Service.objects.create(slug=f"s{number}", name=f"S {number}", tier=tier, team=team, environment=environment)
        for number, (team, tier) in enumerate(((alpha, 1), (beta, 2), (None, 2)))
    ]
    SLO.objects.all().delete()
    slos = SLO.objects.bulk_create(
        [SLO(slug=f"o{number}", name=f"O {number}", service=services[number % 3]) for number in range(6)]
    )
    now = timezone.now()
    days = (5.0, 0.0, None, 1.0, 9.0)
    states = (BudgetState.OK, BudgetState.BREACHED, BudgetState.OK, BudgetState.AT_RISK, BudgetState.AT_RISK)
    BudgetFigures.objects.bulk_create(
        BudgetFigures(
            slo=slo, state=state.value, urgency=0, remaining_low=left, days_left=left, coverage=1, reckoned_at=now
        )
        for slo, left, state in zip(slos, days, states, strict=False)
    )
    return list(slos)


def rows_of(client: Client, **asked: str) -> list[Any]:
    context: Any = client.get("/slos/", asked).context_data
    return list(context["rows"])


@pytest.mark.database
@pytest.mark.usefixtures("_many", "six")
@pytest.mark.parametrize("key", ["service", "team", "tier"])
@pytest.mark.parametrize("sort", ["name", "-name", "tier"])
def test_the_database_groups_as_a_plain_list_is_grouped(
    key: str, sort: str, signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SLOListView, "page_size", 4)

    def shown() -> list[list[tuple[str, Any]]]:
        return [
            [(row.record.slo.name, row.group and (row.group.name, row.group.count)) for row in rows]
            for rows in (rows_of(signed_in, group=key, sort=sort, page=str(number)) for number in (1, 2))
        ]

    of_many = shown()
    monkeypatch.setattr(recent, "MANY", 500)
    assert shown() == of_many
    assert sum(len(one) for one in of_many) == 6


@pytest.mark.database
@pytest.mark.usefixtures("_many", "six")
def test_groups_of_many_say_how_all_of_theirs_stood(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SLOListView, "page_size", 1)
    (row,) = rows_of(signed_in, group="team", sort="name")
    assert (row.group.name, row.group.count) == ("Alpha", 2)
    assert [one.text for one in row.group.subtotals] == ["1 at risk", "1 ok", "least left 100.0 %"]
    (last,) = rows_of(signed_in, group="team", sort="name", page="6")
    assert last.group.name == "no team"
    assert [one.text for one in last.group.subtotals] == ["1 unknown", "1 ok"]
    csv = b"".join(signed_in.get("/slos/", {"group": "team", "format": "csv"}).streaming_content)  # type: ignore[attr-defined]
    assert csv.count(b"\n") == 7


@pytest.mark.usefixtures("_many", "version")
def test_a_grouped_list_of_many_asks_no_more_queries_for_more_slos(version: SLOVersion, signed_in: Client) -> None:
    page(signed_in, group="service")
    with CaptureQueriesContext(connection) as before:
        page(signed_in, group="service")
    SLO.objects.bulk_create([SLO(slug=f"more-{n}", name=f"More {n}", service=version.slo.service) for n in range(60)])
    with CaptureQueriesContext(connection) as after:
        page(signed_in, group="service")
    assert len(after) <= len(before) + 1
