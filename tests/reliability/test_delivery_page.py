"""The four DORA measures as a page: by week, by service, with the changes that failed."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.data import Role
from accounts.services import create_user, grant_role
from catalog.data import ActivityKind
from catalog.selectors import service_by_slug
from catalog.services import end_activity, record_deployment, start_activity
from core.clock import database_now
from core.parsing import InputRefusedError
from ledger.selectors import entries
from reliability.selectors.delivery_measures import delivery
from tests.reliability.conftest import SITE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalog")]


def deployed(reference: str, *, days_ago: float, lead_hours: float | None = None, result: str = "succeeded") -> None:
    service: Any = service_by_slug(slug="gateway")
    at = database_now() - timedelta(days=days_ago)
    record_deployment(
        principal=SITE,
        reference=reference,
        service=service,
        author="alice",
        started_at=at,
        finished_at=at,
        committed_at=at - timedelta(hours=lead_hours) if lead_hours is not None else None,
        result=result,
    )


def out_of_order(key: str, *, days_ago: float, hours: float) -> None:
    service: Any = service_by_slug(slug="gateway")
    at = database_now() - timedelta(days=days_ago)
    start_activity(
        kind=ActivityKind.INCIDENT,
        source_key=key,
        title="First tokens are slow",
        url="",
        service_ids=[service.pk],
        started_at=at,
    )
    end_activity(source_key=key, ended_at=at + timedelta(hours=hours))


def test_it_shows_the_measures_the_time_before_and_why_a_change_failed() -> None:
    deployed("ci-1", days_ago=9, lead_hours=2)
    deployed("ci-2", days_ago=3, lead_hours=6)
    deployed("ci-3", days_ago=2, lead_hours=100, result="failed")
    deployed("ci-4", days_ago=40)
    out_of_order("incident:INC-1", days_ago=2.9, hours=1)
    user = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=user, role=Role.VIEWER)
    client = Client()
    client.force_login(user)
    page = client.get("/dora/?days=30").content.decode()
    assert "2 of 3" in page
    assert "4 h" in page, "the median lead time of what did not fail by its own account"
    assert "First tokens are slow" in page
    assert "the deployment failed" in page
    assert "1 in the time before" in page
    assert client.get("/dora/?days=7000&service=gateway").status_code == 200
    assert client.get("/dora/?service=nothing").status_code == 404
    assert client.post("/dora/").status_code == 405
    assert Client().get("/dora/").status_code == 302


def test_weeks_and_services_add_up_to_the_whole() -> None:
    for number in range(20):
        deployed(f"ci-{number}", days_ago=number + 0.5)
    out_of_order("incident:INC-1", days_ago=10, hours=2)
    now = database_now()
    found = delivery(viewer=SITE, since=now - timedelta(days=28), until=now)
    weeks = found.by_week()
    assert [len(week.deployments) for week in weeks] == [0, 6, 7, 7]
    assert sum(len(week.outages) for week in weeks) == 1
    ((service, figures),) = found.by_service()
    assert (service.slug, figures) == ("gateway", found.measures)


def test_a_change_is_committed_before_it_is_deployed_and_that_is_evidence() -> None:
    with pytest.raises(InputRefusedError, match="before started_at"):
        deployed("ci-9", days_ago=1, lead_hours=-1)
    deployed("ci-1", days_ago=1, lead_hours=3)
    (entry,) = entries(types=["change.deployed"])
    payload: Any = entry.payload
    assert payload["committed_at"] < payload["started_at"]
