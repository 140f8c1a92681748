"""Views of lists: saved, shared with a team, opened first, renamed, deleted; by their owner alone."""

import pytest
from django.test import Client

from accounts.data import Role, system_principal
from accounts.models import Team, User
from accounts.services import create_team, create_user, grant_role, set_team_members
from portal.models import SavedView
from portal.view_pages import list_behind

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
LIST = "reliability:slo_list"


def person(name: str) -> User:
    user = create_user(principal=SITE, username=name, password=None)
    grant_role(principal=SITE, user=user, role=Role.VIEWER)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice() -> Client:
    return signed_in(person("alice"))


@pytest.fixture
def team(alice: Client) -> Team:
    bob = person("bob")
    team = create_team(principal=SITE, slug="inference", name="Inference")
    set_team_members(principal=SITE, team=team, usernames=["alice", bob.username])
    person("charlie")
    return team


def save(client: Client, name: str, query: str, **more: object) -> SavedView:
    answer = client.post("/settings/views/save/", {"page": LIST, "name": name, "query": query, **more})
    assert answer.status_code == 302
    return SavedView.objects.get(name=name)


def offered(client: Client, address: str = "/slos/?view=all") -> list[str]:
    return [one.name for one in client.get(address).context["views"].offer.views]


def test_a_view_keeps_filters_sorting_and_grouping_but_not_the_page(alice: Client) -> None:
    view = save(alice, "At risk", "?state=AT+RISK&sort=-left&group=team&page=3&format=csv&view=9")
    assert view.query == "group=team&sort=-left&state=AT+RISK"
    page = alice.get(f"/slos/?view={view.pk}&{view.query}")
    assert page.context["views"].open.name == "At risk"
    assert not page.context["views"].changed
    assert page.context["state"].grouping.key == "team"


def test_a_list_says_that_it_shows_something_else_by_now_and_the_view_can_follow(alice: Client) -> None:
    view = save(alice, "At risk", "state=AT+RISK")
    page = alice.get(f"/slos/?view={view.pk}&state=BREACHED")
    assert page.context["views"].changed
    assert b"Save the changes to" in page.content
    assert alice.post(f"/settings/views/{view.pk}/keep/", {"query": "state=BREACHED"}).status_code == 302
    view.refresh_from_db()
    assert view.query == "state=BREACHED"


def test_a_private_view_is_its_owners_and_a_shared_one_the_teams(alice: Client, team: Team) -> None:
    save(alice, "Mine", "sort=name")
    save(alice, "Ours", "sort=left", team=team.pk)
    assert offered(alice) == ["Mine", "Ours"]
    assert offered(signed_in(User.objects.get(username="bob"))) == ["Ours"]
    assert offered(signed_in(User.objects.get(username="charlie"))) == []


def test_a_list_opens_with_the_view_that_its_reader_chose(alice: Client, team: Team) -> None:
    view = save(alice, "Ours", "sort=left", team=team.pk, opens_first="on")
    answer = alice.get("/slos/")
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/slos/?view={view.pk}&sort=left"
    assert alice.get("/slos/?view=all").status_code == 200
    bob = signed_in(User.objects.get(username="bob"))
    assert bob.get("/slos/").status_code == 200
    bob.post(f"/settings/views/{view.pk}/open/", {"first": "1"})
    assert bob.get("/slos/").status_code == 302
    bob.post(f"/settings/views/{view.pk}/open/")
    assert bob.get("/slos/").status_code == 200
    alice.post(f"/settings/views/{view.pk}/delete/")
    assert alice.get("/slos/").status_code == 200


def test_only_its_owner_changes_a_view(alice: Client, team: Team) -> None:
    view = save(alice, "Ours", "sort=left", team=team.pk)
    bob = signed_in(User.objects.get(username="bob"))
    for verb in ("keep", "change", "delete"):
        assert bob.post(f"/settings/views/{view.pk}/{verb}/", {"name": "Taken", "query": ""}).status_code == 403
    charlie = signed_in(User.objects.get(username="charlie"))
    for verb in ("keep", "change", "delete", "open"):
        assert charlie.post(f"/settings/views/{view.pk}/{verb}/").status_code == 404
    assert Client().post(f"/settings/views/{view.pk}/delete/").status_code == 302
    assert SavedView.objects.get().name == "Ours"


def test_its_owner_renames_it_and_takes_it_back(alice: Client, team: Team) -> None:
    view = save(alice, "Ours", "sort=left", team=team.pk)
    page = alice.get("/settings/views/").content.decode()
    assert "shared with Inference" in page
    alice.post(f"/settings/views/{view.pk}/change/", {"name": "Mine again", "team": ""})
    view.refresh_from_db()
    assert (view.name, view.team) == ("Mine again", None)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"name": "Twice"}, "of this name"),
        ({"name": " "}, "needs a name"),
        ({"name": "Long", "query": "q=" + "x" * 3000}, "longer than"),
        ({"name": "Foreign", "team": "999"}, "team of your own"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(alice: Client, order: dict[str, str], says: str) -> None:
    save(alice, "Twice", "")
    answer = alice.post("/settings/views/save/", {"page": LIST, "query": "", **order}, follow=True)
    assert says in answer.content.decode()
    assert SavedView.objects.count() == 1


@pytest.mark.parametrize("page", ["portal:home", "https://elsewhere.example/", "ledger:entry_list", "nothing:here"])
def test_views_are_kept_of_lists_that_offer_it_and_of_nothing_else(alice: Client, page: str) -> None:
    assert alice.post("/settings/views/save/", {"page": page, "name": "No", "query": ""}).status_code == 404


def test_incidents_and_alerts_offer_views_too() -> None:
    assert list_behind("incidents:incident_list")
    assert list_behind("incidents:alert_list")
