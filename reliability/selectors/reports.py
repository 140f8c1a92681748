"""What a service kept of its promises in a month or quarter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Min

from accounts.data import Principal
from catalog.data import ActivityKind
from catalog.selectors import activities_between, services_visible
from reliability.domain.budgets import Counts, Interval, budget_remaining_ratio, sli
from reliability.domain.periods import Period
from reliability.models import SLO, Exclusion, ServiceReport, SLOVersion
from reliability.selectors.budgets import slos_for_service, versions_at
from reliability.selectors.charts import firings
from reliability.selectors.exclusions import exclusions_of
from reliability.selectors.reckoning import minute_after, reckon, subjects_of
from reliability.selectors.tallies import minute_of


@dataclass(frozen=True)
class ReportLine:
    """One objective over the period. `kept` is None where unknown events decide, or nothing was counted."""

    slo: SLO
    version: SLOVersion
    objective: str
    target: float
    counts: Counts
    raw_counts: Counts
    sli: Interval | None
    remaining: Interval | None
    coverage_ratio: float
    adjusted: bool
    kept: bool | None
    alerts: int

    def as_json(self) -> dict[str, Any]:
        """Return what the command line says."""
        return {
            "slo": self.slo.slug,
            "objective": self.objective,
            "target": self.target,
            "good": self.counts.good,
            "bad": self.counts.bad,
            "unknown": self.counts.unknown,
            "sli_low": self.sli.low if self.sli else None,
            "sli_high": self.sli.high if self.sli else None,
            "error_budget_remaining_low": self.remaining.low if self.remaining else None,
            "coverage": round(self.coverage_ratio, 6),
            "alerts": self.alerts,
            "adjusted": self.adjusted,
            "verdict": self.verdict,
        }

    @property
    def verdict(self) -> str:
        """The line in one word."""
        if self.sli is None:
            return "not measured" if not self.raw_counts.minutes_measured else "no traffic"
        return {True: "met", False: "breached", None: "unknown"}[self.kept]


@dataclass(frozen=True)
class Outage:
    """An incident of the service, and how long it lasted up to the report's end."""

    title: str
    started_at: datetime
    ended_at: datetime | None
    lasted: timedelta


@dataclass(frozen=True)
class LevelReport:
    """A service's promises over a period, with what happened."""

    service: Any
    period: Period
    until: datetime
    lines: Sequence[ReportLine]
    incidents: Sequence["Outage"]
    exclusions: Sequence[Exclusion]

    @property
    def last_day(self) -> datetime:
        """The last day of the period."""
        return self.period.end - timedelta(days=1)

    @property
    def complete(self) -> bool:
        """Say whether the period had ended when this was reckoned."""
        return self.until >= self.period.end


def level_report(*, service: Any, period: Period, now: datetime) -> LevelReport:
    """Return the report of a service, up to now where the period is going on; exclusions as approved now."""
    until = min(period.end, now)
    slos = list(slos_for_service(service_id=service.pk))
    start, end = minute_of(period.start), minute_after(until)
    subjects = [
        subject
        for version in versions_at(slos, until)
        for subject in subjects_of([version])[version.pk]
        if minute_of(version.counted_from) < end
    ]
    lines = []
    for subject, found in zip(subjects, reckon([(one, (start, end)) for one in subjects]), strict=True):
        begun = max(start, minute_of(subject.version.counted_from))
        figure, target = sli(found.units), float(subject.objective.target)
        kept = None
        if figure is not None and (figure.low >= target or figure.high < target):
            kept = figure.low >= target
        slo = subject.version.slo
        lines.append(
            ReportLine(
                slo=slo.part_of or slo,
                version=subject.version,
                objective=subject.objective.name,
                target=target,
                counts=found.events,
                raw_counts=found.raw_events,
                sli=figure,
                remaining=budget_remaining_ratio(found.units, subject.objective.target),
                coverage_ratio=min(
                    found.raw_events.minutes_measured / max(len(subject.tallies), 1) / max(end - begun, 1), 1.0
                ),
                adjusted=found.adjusted,
                kept=kept,
                alerts=len(firings(slo_slug=slo.slug, since=period.start, until=until)),
            )
        )
    incidents = activities_between(period.start, until, service_id=service.pk, kinds=[ActivityKind.INCIDENT])
    outages = [
        Outage(one.title, one.started_at, one.ended_at, (one.ended_at or until) - one.started_at) for one in incidents
    ]
    return LevelReport(service, period, until, lines, outages, _exclusions(slos, period, until))


class Promising(NamedTuple):
    """A service that ever promised something, with no more of it than a long list shows."""

    pk: int
    slug: str
    name: str
    team: str | None
    promises_since: datetime


def reported_services(*, viewer: Principal) -> list[Promising]:
    """Return the services that the viewer may see and that ever promised something, most important first."""
    began = SLOVersion.objects.order_by().values_list("slo__service").annotate(Min("effective_from"))
    since: dict[int, datetime] = dict(began)
    rows = services_visible(viewer=viewer).values_list("pk", "slug", "name", "team__name")
    return [Promising(*row, since[row[0]]) for row in rows if row[0] in since]


def reports_written(*, viewer: Principal, periods: Iterable[str]) -> dict[tuple[int, str], datetime]:
    """Return when the reports of services that the viewer may see were written, by service and period."""
    services = services_visible(viewer=viewer).order_by().values("pk")
    found = ServiceReport.objects.filter(period__in=list(periods), service__in=services).order_by()
    return {(service, key): at for service, key, at in found.values_list("service_id", "period", "created_at")}


def report_of(*, service: Any, key: str) -> ServiceReport | None:
    """Return the report that was written of a service's period."""
    return ServiceReport.objects.filter(service=service, period=key).first()


def _exclusions(slos: Sequence[SLO], period: Period, until: datetime) -> list[Exclusion]:
    found = {one.pk: one for slo in slos for one in exclusions_of(slo=slo).filter(state=Exclusion.State.APPROVED)}
    return [one for one in found.values() if one.starts_at < until and (one.recurrence or one.ends_at > period.start)]
