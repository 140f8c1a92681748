"""Service-level reports: by service and period, as a page, HTML and PDF."""

from datetime import datetime
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts.services import principal_of
from core.clock import database_now
from core.lists import Column, Empty, Filter, RecordListView
from core.replicas import read_as_report
from core.templatetags.assay import state
from ledger.services import read_artifact
from reliability.domain.periods import Period, month_of, period, periods_before, quarter_of
from reliability.navigation import may_view
from reliability.selectors.reports import Promising, level_report, report_of, reported_services, reports_written
from reliability.services import report_html, report_pdf
from reliability.views.access import RoomView

SHOWN_MONTHS = 6
SHOWN_QUARTERS = 3
TONES = {"recorded": "ok", "period open": "plain"}
MEDIA_TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


class ReportRow(NamedTuple):
    """A service and a period; there may be very many."""

    service: Promising
    period: Period
    recorded_at: datetime | None
    ended: bool

    @property
    def state(self) -> str:
        """Whether it is written for good, will be, or goes on."""
        if self.recorded_at:
            return "recorded"
        return "waiting" if self.ended else "period open"


def shown_periods(now: datetime) -> list[Period]:
    """Return the periods that are offered: the current ones and those before, months first."""
    return [*periods_before(month_of(now), SHOWN_MONTHS), *periods_before(quarter_of(now), SHOWN_QUARTERS)]


class ReportListView(RecordListView):
    """The reports of every service that promises something."""

    title = "Service levels"
    intro = "What each service kept of its promises, by month and quarter; recorded in the ledger at a period's end."
    noun = "reports"
    columns = (
        Column(
            "service",
            "Service",
            lambda row: row.service.name,
            kind="strong",
            sort_key=lambda row: row.service.name.lower(),
            href=lambda row: reverse("reliability:report_detail", args=[row.service.slug, row.period.key]),
        ),
        Column("period", "Period", lambda row: row.period.title, sort_key=lambda row: row.period.start),
        Column("team", "Team", lambda row: row.service.team, wide_only=True),
        Column(
            "state",
            "State",
            lambda row: row.state,
            kind="state",
            sort_key=lambda row: row.state,
            render=lambda row: state(row.state, tone=TONES.get(row.state, "")),
        ),
        Column("recorded", "Recorded", lambda row: row.recorded_at, kind="time", sort_key=lambda row: row.recorded_at),
    )
    filters = (
        Filter(
            "kind",
            "Period",
            [("month", "Month"), ("quarter", "Quarter")],
            apply=lambda rows, chosen: [
                row for row in rows if ("quarter" if "Q" in row.period.key else "month") in chosen
            ],
        ),
    )
    default_sort = "-period"
    empty = Empty("No service promises anything yet.", command=".venv/bin/python manage.py slo apply slos.yaml")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> list[ReportRow]:
        viewer, now = principal_of(self.request), database_now()
        services, periods = reported_services(viewer=viewer), shown_periods(now)
        written = reports_written(viewer=viewer, periods=(one.key for one in periods))
        return [
            ReportRow(service, one, written.get((service.pk, one.key)), ended=one.end <= now)
            for one in periods
            for service in services
            # Before its first promise a service has nothing to be held to.
            if one.end > service.promises_since or (service.pk, one.key) in written
        ]


class ReportDetailView(RoomView):
    """One report, up to now where the period is going on."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, service: str, key: str) -> HttpResponse:
        now = database_now()
        report = level_report(service=self.service_or_404(service), period=period_or_404(key, now), now=now)
        met = sum(1 for line in report.lines if line.kept)
        context = {
            "title": f"{report.service.name}, {report.period.title}",
            "report": report,
            "met": met,
            "of_all": f"of {len(report.lines)}",
            "written": report_of(service=report.service, key=report.period.key),
            "periods": shown_periods(now),
        }
        return TemplateResponse(request, "reliability/report_detail.html", context)


class ReportFileView(RoomView):
    """The report as a file: as recorded where the period has ended, else as it stands now."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, service: str, key: str, form: str) -> HttpResponse:  # noqa: ARG002 Django's signature
        now = database_now()
        found, wanted = self.service_or_404(service), period_or_404(key, now)
        written = report_of(service=found, key=wanted.key)
        content: bytes | None = None
        if written is not None:
            content = read_artifact(written.pdf_sha256 if form == "pdf" else written.html_sha256)
        if content is None:
            html = read_as_report(lambda _: report_html(level_report(service=found, period=wanted, now=now)))
            content = report_pdf(html) if form == "pdf" else html.encode()
        name = f"{found.slug}-{wanted.key}.{form}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(content, content_type=MEDIA_TYPES[form], headers=headers)


def period_or_404(key: str, now: datetime) -> Period:
    """Return the period of a key, if it has begun."""
    found = period(key)
    if found is None or found.start > now:
        raise Http404("There is no such period: 2026-03 or 2026-Q1, and it must have begun.")
    return found
