"""Service-level reports as files: written once a period has ended, kept in the ledger."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from accounts.data import Principal, system_principal
from catalog.selectors import services_visible
from core.clock import database_now
from core.replicas import ReadFrom, read_as_report
from ledger.data.slo import ServiceLevelReported
from ledger.services import record, store_artifact
from reliability.domain.periods import Period, month_of, quarter_of
from reliability.models import ServiceReport, SLOVersion
from reliability.selectors.reports import LevelReport, level_report

# It tells each of its steps at INFO, and each property that only screens know at WARNING.
logging.getLogger("weasyprint").setLevel(logging.ERROR)
logging.getLogger("weasyprint.progress").setLevel(logging.ERROR)
REPORTER = system_principal("slo-reporter")
STYLE = """
@page { size: A4 landscape; margin: 16mm }
@page { @bottom-right { content: counter(page) " / " counter(pages); font-size: 8pt } }
body { font: 9.5pt sans-serif; color: #1d2130; max-width: 70rem; margin: 1rem auto; padding: 0 1rem }
h1 { font-size: 17pt; margin: 0 0 2mm } h2 { font-size: 12pt; margin: 6mm 0 1mm }
table { border-collapse: collapse; width: 100% } .table-scroll { overflow-x: auto }
th, td { text-align: left; padding: 1.2mm 2mm; border-bottom: .2mm solid #c9ccd6; vertical-align: top }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } .quiet { color: #5b6072 }
"""


def report_html(report: LevelReport) -> str:
    """Return a report as a document of its own, without anything loaded from elsewhere."""
    # The style is this module's own text.
    return render_to_string("reliability/report_document.html", {"report": report, "style": mark_safe(STYLE)})  # noqa: S308  # nosec B308, B703


def report_pdf(html: str) -> bytes:
    """Return a report's document as PDF."""
    import weasyprint  # noqa: PLC0415 a second of start-up that only a report needs

    def refuse(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"a report loads nothing: {url}")

    document = weasyprint.HTML(string=html, url_fetcher=refuse)
    content: bytes = document.write_pdf()
    return content


def write_ended_reports(*, now: datetime | None = None) -> int:
    """Write the report of the last month and quarter for each service that promised something; returns how many."""
    moment = now or database_now()
    ended = [current(current(moment).start - timedelta(seconds=1)) for current in (month_of, quarter_of)]
    written = 0
    for service in services_visible(viewer=REPORTER).filter(slos__isnull=False).distinct():
        for period in ended:
            if not ServiceReport.objects.filter(service=service, period=period.key).exists():
                written += _write(service, period, moment)
    return written


def write_report(*, principal: Principal, service: Any, period: Period, now: datetime | None = None) -> bool:
    """Write one report now if its period has ended and it is not written yet."""
    moment = now or database_now()
    if period.end > moment or ServiceReport.objects.filter(service=service, period=period.key).exists():
        return False
    return bool(_write(service, period, moment, actor=principal.reference))


def _write(service: Any, period: Period, now: datetime, *, actor: str = REPORTER.reference) -> int:
    if not SLOVersion.objects.filter(slo__service=service, effective_from__lt=period.end).exists():
        return 0

    def read(_: ReadFrom) -> tuple[LevelReport, str]:
        found = level_report(service=service, period=period, now=now)
        return found, report_html(found)

    report, text = read_as_report(read)
    html, pdf = text.encode(), report_pdf(text)
    with transaction.atomic():
        name = f"{service.slug}-{period.key}"
        digests = (
            store_artifact(html, media_type="text/html", name=f"{name}.html"),
            store_artifact(pdf, media_type="application/pdf", name=f"{name}.pdf"),
        )
        _, created = ServiceReport.objects.get_or_create(
            service=service,
            period=period.key,
            defaults={"created_at": now, "html_sha256": digests[0], "pdf_sha256": digests[1]},
        )
        if not created:
            return 0
        record(
            ServiceLevelReported(
                service=service.slug,
                report_period=period.key,
                objectives=[
                    {
                        "slo": line.slo.slug,
                        "objective": line.objective,
                        "definition_version": line.version.number,
                        "target": str(line.version.target if not line.objective else line.target),
                        "good": line.counts.good,
                        "bad": line.counts.bad,
                        "unknown": line.counts.unknown,
                        "verdict": line.verdict,
                    }
                    for line in report.lines
                ],
                incidents=len(report.incidents),
            ),
            actor=actor,
            subject=f"service:{service.slug}",
            period=(period.start, period.end),
            artifacts=digests,
        )
    return 1
