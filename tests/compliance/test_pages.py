"""Pages and REST: open to whom they should be, closed to the rest."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from compliance.models import Occurrence
from compliance.services import create_engagement, grant_auditor, request_export, run_checks
from compliance.services.audits import EXPORT_QUEUE
from core.work import drain
from ledger.selectors import entries
from ledger.services import seal_pending

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
SITE = system_principal("test")
PAGES = [
    "/compliance/",
    "/compliance/soc2/",
    "/compliance/soc2/cc7-4/",
    "/compliance/soc2/cc1-1/",
    "/controls/",
    "/controls/rights-on-record/",
    "/audits/",
    "/audits/soc2-2026/",
]
VERBS = [
    "/api/v1/compliance/frameworks/",
    "/api/v1/compliance/frameworks/soc2/requirements/",
    "/api/v1/compliance/controls/",
    "/api/v1/compliance/audits/",
]


@pytest.fixture
def auditor(person: Callable[..., User], manager: Principal) -> User:
    now = timezone.now()
    user = person("ada", Role.AUDITOR)
    engagement = create_engagement(
        principal=manager,
        slug="soc2-2026",
        name="SOC 2, 2026",
        frameworks=["soc2"],
        window_start=now - timedelta(days=30),
        window_end=now + timedelta(days=30),
    )
    grant_auditor(principal=manager, engagement=engagement, user_id=user.pk, expires_at=now + timedelta(days=1))
    seal_pending()
    run_checks()
    request_export(principal=SITE, engagement=engagement)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("page", PAGES)
def test_each_page_opens_for_a_manager_and_a_granted_auditor(page: str, auditor: User) -> None:
    assert signed_in(auditor).get(page).status_code == 200
    assert signed_in(User.objects.get(username="carol")).get(page).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_no_page_opens_for_a_viewer_or_an_auditor_without_a_grant(
    page: str, auditor: User, person: Callable[..., User]
) -> None:
    assert signed_in(person("victor", Role.VIEWER)).get(page).status_code == 403
    assert signed_in(person("axel", Role.AUDITOR)).get(page).status_code == 403


def test_an_auditor_sees_no_framework_outside_the_grant(auditor: User) -> None:
    client = signed_in(auditor)
    assert client.get("/compliance/iso27001/").status_code == 404
    assert client.get("/controls/chaos-approved/").status_code == 200
    body = client.get("/controls/audit-log-kept/").content.decode()
    assert "A.8.15" not in body


def test_evidence_of_another_control_is_not_shown(auditor: User) -> None:
    client = signed_in(auditor)
    row = Occurrence.objects.filter(check_run__control__slug="rights-on-record", outcome="passed").first()
    assert row is not None
    assert client.get(f"/controls/rights-on-record/evidence/{row.entries[0]}/").status_code == 200
    assert client.get(f"/controls/changes-approved/evidence/{row.entries[0]}/").status_code == 404


def test_an_auditor_makes_and_fetches_a_pack_and_it_is_recorded(auditor: User) -> None:
    client = signed_in(auditor)
    assert client.post("/audits/soc2-2026/").status_code == 302
    assert "progress" in client.get("/audits/soc2-2026/").content.decode()
    drain(EXPORT_QUEUE)
    page = client.get("/audits/soc2-2026/").content.decode()
    link = next(part.split('"')[0] for part in page.split('href="') if "/file/" in part.split('"')[0])
    answer = client.get(link)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    assert answer.getvalue().startswith(b"PK")
    answer.close()
    actions = [e.payload["action"] for e in entries(types=["audit.action"]) if e.payload]
    assert actions.count("pack.downloaded") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_rest_answers_an_auditor_with_what_was_granted(verb: str, auditor: User) -> None:
    answer = signed_in(auditor).get(verb)
    assert answer.status_code == 200
    assert answer.json()


@pytest.mark.parametrize("verb", VERBS)
def test_rest_shows_a_viewer_nothing(verb: str, auditor: User, person: Callable[..., User]) -> None:
    answer = signed_in(person("victor", Role.VIEWER)).get(verb)
    assert answer.status_code == 404 or answer.json() == []


def test_a_framework_page_asks_a_few_questions_however_many_requirements_there_are(
    auditor: User, django_assert_max_num_queries: object
) -> None:
    client = signed_in(User.objects.get(username="carol"))
    with django_assert_max_num_queries(40):  # type: ignore[operator]
        client.get("/compliance/soc2/")
