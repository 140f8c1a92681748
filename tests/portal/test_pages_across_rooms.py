import re
from collections.abc import Sequence
from datetime import date

import pytest
from django.test import Client

from accounts.data import system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user
from catalog.data import ActivityKind
from catalog.models import Activity, Environment, Service
from compliance.selectors import access_of, engagements_visible
from compliance.services import ask_for, move_request
from core.clock import database_now
from incidents.models import Incident
from portal.data import Line
from portal.selectors import now_for, services_standing
from tests.browser.organization import build

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def organization(undone_after_module: None) -> None:
    build()
    create_user(principal=system_principal("test"), username="charlie", password=None)


def board_of(name: str):  # type: ignore[no-untyped-def]
    viewer = principal_for_user(user=User.objects.get(username=name))
    return now_for(viewer=viewer, username=name, now=database_now())


def get(name: str, path: str, **headers: str):  # type: ignore[no-untyped-def]
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username=name))
    return client.get(path, headers=headers)


@pytest.mark.usefixtures("organization")
def test_the_service_with_an_open_incident_comes_first() -> None:
    lines = services_standing(viewer=principal_for_user(user=User.objects.get(username="dana")), now=database_now())
    assert lines[0].slug == "gateway"
    assert lines[0].state == "firing"


@pytest.mark.usefixtures("organization")
def test_a_service_without_a_promise_is_never_shown_as_good() -> None:
    lines = services_standing(viewer=principal_for_user(user=User.objects.get(username="dana")), now=database_now())
    assert {line.tone.value for line in lines if line.state == "no SLO"} == {"unknown"}


@pytest.mark.usefixtures("organization")
def test_a_follow_up_is_shown_to_its_owner_alone() -> None:
    assert any("queue of the gateway" in line.title for line in board_of("alice").mine)
    assert not any("queue of the gateway" in line.title for line in board_of("dana").mine)


@pytest.mark.usefixtures("organization")
def test_a_request_of_an_auditor_waits_for_those_who_answer_and_then_for_the_auditor() -> None:
    ada, carol = (principal_for_user(user=User.objects.get(username=name)) for name in ("ada", "carol"))
    audit = engagements_visible(access=access_of(ada)).get()
    asked = ask_for(principal=ada, engagement=audit, title="All leavers of March", due_on=date(2020, 1, 1))

    def line(lines: Sequence[Line]) -> list[str]:
        return [one.state for one in lines if one.title == str(asked)]

    assert line(board_of("ada").requests) == line(board_of("carol").mine) == ["overdue"]
    assert not line(board_of("alice").mine)
    move_request(principal=carol, request=asked, state="submitted")
    assert (line(board_of("ada").requests), line(board_of("carol").mine)) == (["submitted"], [])
    assert board_of("ada").requests[0].title == str(asked), "what can be looked at comes first"
    move_request(principal=ada, request=asked, state="accepted")
    assert not line(board_of("ada").requests)
    assert "on fire" not in get("ada", "/").content.decode()


@pytest.mark.usefixtures("organization")
def test_home_names_the_run_that_caused_an_incident_and_leads_to_it() -> None:
    now = database_now()
    Activity.objects.create(
        kind=ActivityKind.CHAOS_RUN,
        source_key="chaos:run_x",
        title="Two freeze",
        url="/chaos/runs/run_x/",
        started_at=now,
    )
    Incident.objects.update(caused_by="chaos:run_x")
    page = get("alice", "/").content.decode()
    assert '<a href="/chaos/runs/run_x/">Two freeze</a>' in page
    assert "chaos:run_x" not in page
    Activity.objects.filter(source_key="chaos:run_x").delete()
    assert "<code>chaos:run_x</code>" in get("alice", "/").content.decode(), "what nobody announced is shown as it is"


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("name", ["ada", "charlie"])
def test_who_holds_no_operations_role_sees_no_operations(name: str) -> None:
    board = board_of(name)
    assert not board.incidents
    assert not board.services
    assert "operations" not in board.shows


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("path", ["/services/gateway/", "/services/unheard-of/"])
def test_a_stranger_cannot_tell_whether_a_service_exists(path: str) -> None:
    assert get("charlie", path).status_code == 404


@pytest.mark.usefixtures("organization")
def test_a_list_that_is_not_theirs_says_so_with_an_id() -> None:
    answer = get("charlie", "/services/")
    assert answer.status_code == 403
    assert "Your roles do not open" in answer.content.decode()
    assert answer["X-Request-Id"] in answer.content.decode()


@pytest.mark.usefixtures("organization")
def test_the_search_finds_only_what_the_reader_may_see() -> None:
    assert "Inference gateway" in get("dana", "/search/?q=gateway").content.decode()
    assert "Inference gateway" not in get("charlie", "/search/?q=gateway").content.decode()


@pytest.mark.usefixtures("organization")
def test_an_htmx_request_gets_the_piece_without_the_frame() -> None:
    body = get("dana", "/", **{"HX-Request": "true"}).content.decode()
    assert "<html" not in body
    assert 'id="now"' in body


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("path", ["/", "/services/", "/services/gateway/", "/search/?q=%00<script>"])
def test_pages_carry_no_inline_script_or_style(path: str) -> None:
    body = get("dana", path).content.decode()
    assert " style=" not in body
    assert "onclick" not in body
    assert "<script>" not in body


@pytest.mark.usefixtures("organization")
def test_pages_refuse_other_methods() -> None:
    client = Client()
    client.force_login(User.objects.get(username="dana"))
    assert [client.post(path).status_code for path in ("/", "/services/", "/services/gateway/", "/search/")] == [
        405
    ] * 4


@pytest.mark.parametrize("path", ["/", "/services/", "/services/gateway/", "/search/"])
def test_pages_lead_a_visitor_to_the_sign_in(path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in/")


@pytest.mark.usefixtures("organization")
def test_home_asks_the_same_number_of_questions_for_more_services(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    client = Client()
    client.force_login(User.objects.get(username="dana"))
    client.get("/")
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as before:
        client.get("/")
    environment = Environment.objects.get(slug="demo")
    Service.objects.bulk_create(Service(slug=f"s-{n}", name=f"S {n}", environment=environment) for n in range(20))
    with django_assert_num_queries(len(before)):
        client.get("/")


def test_a_failed_page_quotes_its_id_and_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.test import RequestFactory

    from portal.views import server_error

    request = RequestFactory().get("/x/")
    request.META["ASSAY_REQUEST_ID"] = "req_test1234"
    answer = server_error(request)
    assert answer.status_code == 500
    assert "req_test1234" in answer.content.decode()


@pytest.mark.usefixtures("organization")
def test_the_ledger_names_who_acted_and_keeps_the_reference_at_hand() -> None:
    page = get("carol", "/ledger/?columns=type&columns=actor&columns=reference").content.decode()
    assert "Assay (test)" in page
    assert "system:test" in page


@pytest.mark.usefixtures("organization")
def test_the_menu_folds_the_settings_until_one_is_there() -> None:
    assert folded_sections(get("admin", "/").content.decode()) == ["Settings"]
    assert folded_sections(get("admin", "/settings/people/").content.decode()) == []


def folded_sections(page: str) -> list[str]:
    return re.findall(r'<details class="menu-fold">\s*<summary[^>]*>([^<]+)<', page)
