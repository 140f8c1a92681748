"""What a page reads once is what each of its parts would have read by itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.data import Role
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.domain.budgets import Counts
from reliability.models import SLOVersion
from reliability.selectors import (
    budget_forecast,
    budget_statuses,
    burn_rates,
    detailed_statuses,
    minute_of,
    subjects_of,
)
from reliability.selectors.ahead import read_ahead
from reliability.selectors.budgets import BURN_WINDOWS
from reliability.selectors.charts import burn_chart, burn_down, events_chart, frame_of, lanes_chart
from reliability.selectors.findings import findings_of
from reliability.selectors.history import spenders
from reliability.selectors.looking import one_look, read_once
from reliability.services import Stretch, approve_exclusion, request_exclusion
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def with_history(version: SLOVersion) -> SLOVersion:
    """Count two days with an outage, of which a part is excluded, and another exclusion that recurs."""
    now = database_now()
    end = minute_of(now)
    SLOVersion.objects.update(effective_from=now - timedelta(days=40))
    minutes = [*range(90), *range(600, 640), *range(1500, 2900, 50)]
    add_to_tallies(
        {
            (version.tally_id, end - ago): Counts(good=9, bad=3 if 20 <= ago < 40 else 0, unknown=ago % 2)
            for ago in minutes
        }
    )
    bob, carl = (create_user(principal=SITE, username=name, password=None) for name in ("bob", "carl"))
    for one in (bob, carl):
        grant_role(principal=SITE, user=one, role=Role.APPROVER)
    for low, high in ((35, 25), (610, 605), (60 * 24 * 39, 60 * 24 * 38)):
        stretch = Stretch(now - timedelta(minutes=low), now - timedelta(minutes=high))
        asked = request_exclusion(principal=principal_for_user(user=bob), stretch=stretch, reason="x", slo=version.slo)
        approve_exclusion(principal=principal_for_user(user=carl), exclusion=asked)
    version.refresh_from_db()
    return version


def everything(version: SLOVersion, now: Any) -> list[Any]:
    """Return what the page of an SLO shows."""
    slo, frame = version.slo, frame_of(version, now)
    subject = subjects_of([version])[version.pk][0]
    foreseen = budget_forecast(version=version, now=now)
    return [
        budget_statuses([slo], now=now, burns=BURN_WINDOWS),
        detailed_statuses([slo], now=now),
        detailed_statuses([slo], now=now, known_at=now - timedelta(days=1)),
        burn_down(subject=subject, frame=frame.with_forecast(foreseen), foreseen=foreseen),
        burn_chart(subject=subject, frame=frame),
        events_chart(subject=subject, frame=frame),
        lanes_chart(subject=subject, frame=frame, slo=slo),
        spenders(version=version, slo=slo, now=now),
        findings_of(slos=[slo], now=now),
        foreseen,
    ]


def test_everything_on_a_page_is_the_same_within_a_look_and_one_by_one(version: SLOVersion) -> None:
    with_history(version)
    now = database_now()
    apart = everything(version, now)
    with one_look():
        read_ahead(subject=subjects_of([version])[version.pk][0], frame=frame_of(version, now), now=now)
        with CaptureQueriesContext(connection) as asked:
            together = everything(version, now)
    assert together == apart
    status = apart[0][version.slo_id]
    assert status.adjusted
    assert dict(status.burn) == burn_rates(slo=version.slo, now=now)
    sums = [one["sql"] for one in asked.captured_queries if "reliability_tallyblock" in one["sql"]]
    assert len(sums) <= 1, "only what spent the budget is read besides"


def test_the_page_asks_few_times_whatever_it_shows(version: SLOVersion) -> None:
    with_history(version)
    client = Client()
    user = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=user, role=Role.VIEWER)
    client.force_login(user)
    client.get(f"/slos/{version.slo.slug}/")
    with CaptureQueriesContext(connection) as asked:
        assert client.get(f"/slos/{version.slo.slug}/").status_code == 200
    assert len(asked) <= 36


def test_a_look_ends_and_what_is_read_after_it_is_new() -> None:
    read = iter(range(9))
    with one_look(), one_look():
        assert [read_once("x", lambda: next(read)) for _ in range(3)] == [0, 0, 0]
    assert [read_once("x", lambda: next(read)) for _ in range(2)] == [1, 2]
    with one_look():
        assert read_once("x", lambda: next(read)) == 3
