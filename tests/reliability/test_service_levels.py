"""Service-level reports: months and quarters, as page, HTML and PDF, recorded once when they have ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Role
from accounts.services import create_user, grant_role
from catalog.data import ActivityKind
from catalog.services import end_activity, start_activity
from core.clock import database_now
from ledger.selectors import entries
from ledger.services import read_artifact
from reliability.domain.budgets import Counts
from reliability.domain.periods import month_of, period, periods_before, quarter_of
from reliability.models import ServiceReport, SLOVersion
from reliability.selectors import minute_of
from reliability.selectors.reports import level_report
from reliability.services import report_html, report_pdf, write_ended_reports
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def test_a_quarter_is_three_months_and_its_last_day_is_the_day_before_the_next() -> None:
    quarter = period("2026-Q4")
    assert quarter is not None
    assert (quarter.start, quarter.end) == (datetime(2026, 10, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert [one.key for one in periods_before(month_of(MARCH), 4)] == ["2026-03", "2026-02", "2026-01", "2025-12"]
    assert [one.key for one in periods_before(quarter_of(MARCH), 2)] == ["2026-Q1", "2025-Q4"]


@pytest.mark.parametrize("text", ["2026-13", "2026-Q5", "2026", "2026-3", "-", "9999-01"])
def test_what_is_no_period_is_none(text: str) -> None:
    assert period(text) is None


@given(st.integers(0, 7_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_every_instant_lies_in_its_month_and_quarter(moment: datetime) -> None:
    for found in (month_of(moment), quarter_of(moment)):
        assert found.start <= moment < found.end
        assert period(found.key) == found


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("catalog")
class TestReports:
    def counted(self) -> SLOVersion:
        """Return an SLO at 95 % whose March has 3 bad events in 1,000, and an incident of an hour."""
        apply(TTFT)
        SLOVersion.objects.update(effective_from=MARCH - timedelta(days=20))
        version = SLOVersion.objects.get()
        first, last = minute_of(MARCH), minute_of(APRIL) - 1
        add_to_tallies(
            {
                (version.tally_id, first - 1): Counts(bad=500),
                (version.tally_id, first): Counts(good=497, bad=3),
                (version.tally_id, last): Counts(good=500),
                (version.tally_id, last + 1): Counts(bad=700),
            }
        )
        start_activity(
            kind=ActivityKind.INCIDENT,
            source_key="incident:INC-1",
            title="Slow first tokens",
            url="",
            service_ids=[version.slo.service_id],
            started_at=MARCH + timedelta(days=3),
        )
        end_activity(source_key="incident:INC-1", ended_at=MARCH + timedelta(days=3, hours=1))
        return version

    def test_a_month_counts_its_own_minutes_and_no_others(self) -> None:
        version = self.counted()
        march = period("2026-03")
        assert march is not None
        report = level_report(service=version.slo.service, period=march, now=APRIL + timedelta(days=1))
        (line,) = report.lines
        assert (line.counts.good, line.counts.bad, line.verdict) == (997, 3, "met")
        assert line.remaining is not None
        assert line.remaining.low == pytest.approx(1 - 0.003 / 0.05)
        assert [one.lasted for one in report.incidents] == [timedelta(hours=1)]
        html = report_html(report)
        assert "Slow first tokens" in html
        assert "99.7" in html

    def test_a_period_that_has_ended_is_recorded_once_with_its_files(self) -> None:
        version = self.counted()
        now = APRIL + timedelta(hours=1)
        assert write_ended_reports(now=now) == 2
        assert write_ended_reports(now=now + timedelta(hours=1)) == 0
        assert set(ServiceReport.objects.values_list("period", flat=True)) == {"2026-03", "2026-Q1"}
        found: list[Any] = [entry.payload for entry in entries(types=["slo.service_level_reported"])]
        assert {one["report_period"] for one in found} == {"2026-03", "2026-Q1"}
        march = next(one for one in found if one["report_period"] == "2026-03")
        assert [(one["good"], one["bad"], one["verdict"]) for one in march["objectives"]] == [(997, 3, "met")]
        written = ServiceReport.objects.get(period="2026-03")
        pdf = read_artifact(written.pdf_sha256)
        assert pdf is not None
        assert pdf.startswith(b"%PDF-")
        assert entries(types=["slo.service_level_reported"]).filter(subject="service:gateway").count() == 2
        assert version.slo.service.slug == "gateway"

    def test_a_service_that_promised_nothing_yet_has_no_report(self) -> None:
        apply(TTFT)
        SLOVersion.objects.update(effective_from=APRIL + timedelta(minutes=1))
        assert write_ended_reports(now=APRIL + timedelta(hours=1)) == 0

    def test_the_file_loads_nothing_from_elsewhere(self) -> None:
        version = self.counted()
        march = period("2026-03")
        assert march is not None
        report = level_report(service=version.slo.service, period=march, now=APRIL)
        assert "http" not in report_html(report)
        assert report_pdf(report_html(report)).startswith(b"%PDF-")

    def test_the_list_begins_with_the_first_promise(self) -> None:
        apply(TTFT)
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        rows = [row.record for row in client.get("/service-levels/").context["rows"]]
        assert [(row.state, row.period.key) for row in rows] == [
            ("period open", month_of(database_now()).key),
            ("period open", quarter_of(database_now()).key),
        ]

    def test_pages_and_files_open_for_viewers_only(self) -> None:
        self.counted()
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        assert b"March 2026" in client.get("/service-levels/gateway/2026-03/").content
        assert client.get("/service-levels/").status_code == 200
        file = client.get("/service-levels/gateway/2026-03/report.html")
        assert file["Content-Disposition"] == 'attachment; filename="gateway-2026-03.html"'
        assert client.get("/service-levels/gateway/2026-13/").status_code == 404
        assert client.get("/service-levels/nothing/2026-03/").status_code == 404
        assert client.post("/service-levels/gateway/2026-03/").status_code == 405
        stranger = Client()
        assert stranger.get("/service-levels/gateway/2026-03/report.pdf").status_code == 302
        nobody = create_user(principal=SITE, username="nobody", password=None)
        stranger.force_login(nobody)
        assert stranger.get("/service-levels/gateway/2026-03/report.pdf").status_code == 403
