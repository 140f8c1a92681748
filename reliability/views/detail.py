"""One SLO: how much is left, what spent it, and whether the number can be trusted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.data import Capability
from core.clock import database_now
from core.parsing import InputRefusedError
from reliability.domain.alerting import BurnTier
from reliability.models import SLO, SLOVersion
from reliability.selectors import (
    budget_forecast,
    budget_statuses,
    detailed_statuses,
    exclusions_of,
    minute_of,
    minute_series,
    policy_standing,
    probe_locations,
    subjects_of,
    versions_of,
)
from reliability.selectors.ahead import read_ahead
from reliability.selectors.budgets import BURN_WINDOWS
from reliability.selectors.charts import (
    burn_chart,
    burn_down,
    events_chart,
    frame_of,
    happenings,
    lanes_chart,
    marks_of,
    written_minutes,
)
from reliability.selectors.findings import findings_of
from reliability.selectors.history import spenders
from reliability.selectors.looking import one_look
from reliability.selectors.samples import minute_facts
from reliability.services import samples_behind
from reliability.views.access import RoomView

RECENT_MINUTES = 15
SPANS = {"1h": timedelta(hours=1), "6h": timedelta(hours=6), "1d": timedelta(days=1), "7d": timedelta(days=7)}
LAST_MINUTE = 4_000_000_000 // 60


class SLODetailView(RoomView):
    """The page of an SLO, and its parts that refresh themselves: `?part=charts`, else how it stands."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        with one_look():
            return self._answer(request, self.slo_or_404(slug))

    def _answer(self, request: HttpRequest, slo: SLO) -> HttpResponse:
        now = database_now()
        versions = list(versions_of(slo=slo))
        version = next((one for one in versions if one.retired_at is None), None)
        context: dict[str, Any] = {
            "title": slo.name,
            "slo": slo,
            "version": version,
            "versions": versions,
            "now": now,
            "may_exclude": self.principal.may(Capability.SLO_EXCLUDE, team_id=slo.service.team_id),
        }
        htmx = getattr(request, "htmx", False) and version is not None
        if version is not None and (not htmx or request.GET.get("part") == "charts"):
            context.update(self._charts(slo, version, now))
            if htmx:
                return TemplateResponse(request, "reliability/slo_charts.html", context)
        if version is not None:
            context.update(self._live(slo, version, now))
            if htmx:
                return TemplateResponse(request, "reliability/slo_live.html", context)
            context.update(self._rest(slo, version, now))
        return TemplateResponse(request, "reliability/slo_detail.html", context)

    @staticmethod
    def _live(slo: SLO, version: SLOVersion, now: datetime) -> dict[str, Any]:
        status = budget_statuses([slo], now=now, burns=BURN_WINDOWS).get(slo.pk)
        tiers = {values["name"]: BurnTier(**values) for values in version.tiers}
        alerts = [
            {
                "alert": alert,
                "tier": tier,
                "windows": f"{written_minutes(tier.long_minutes)} and {written_minutes(tier.short_minutes)}",
            }
            for alert in slo.burn_alerts.all()
            if (tier := tiers.get(alert.tier)) is not None
        ]
        standing = policy_standing(slo=slo, status=status) if status is not None else None
        return {
            "status": status,
            "burn_rates": (status.burn if status is not None else dict.fromkeys(BURN_WINDOWS)).items(),
            "alerts": alerts,
            "standing": standing,
            "findings": findings_of(slos=[slo], now=now).get(slo.pk, []),
            "locations": probe_locations(version),
            "collection": getattr(version.counts_with or version, "collection", None),
        }

    def _charts(self, slo: SLO, version: SLOVersion, now: datetime) -> dict[str, Any]:
        subject = subjects_of([version])[version.pk][0]
        span = self.request.GET.get("span", "")
        raw = self.request.GET.get("counted") == "raw"
        frame = frame_of(version, now, span=SPANS.get(span), raw=raw)
        read_ahead(subject=subject, frame=frame, now=now)
        foreseen = budget_forecast(version=version, now=now)
        frame = frame.with_forecast(foreseen)
        lanes = lanes_chart(subject=subject, frame=frame, slo=slo)
        charts = {
            "burn_down": burn_down(subject=subject, frame=frame, foreseen=foreseen),
            "burn_chart": burn_chart(subject=subject, frame=frame),
            "events": events_chart(subject=subject, frame=frame),
        }
        for chart in charts.values():
            chart["marks"] = marks_of(lanes)
        return {
            **charts,
            "lanes": lanes,
            "happenings": happenings(lanes),
            "step": written_minutes(frame.step),
            "span": span if span in SPANS else "",
            "spans": [*SPANS, ""],
            "raw": raw,
            "foreseen": foreseen,
            "forecast_at": _instants(foreseen, now),
        }

    def _rest(self, slo: SLO, version: SLOVersion, now: datetime) -> dict[str, Any]:
        end = minute_of(now) + 1
        minutes = minute_series(version=version, start_minute=end - RECENT_MINUTES, end_minute=end)
        known_at = _date(self.request.GET.get("known_at", ""))
        return {
            "spenders": spenders(version=version, slo=slo, now=now),
            "minutes": [(minute, _instant(minute), counts) for minute, counts in reversed(minutes)],
            "promises": detailed_statuses([slo], now=now, known_at=known_at),
            "known_at": known_at,
            "exclusions": exclusions_of(slo=slo)[:20],
            "definition": yaml.safe_dump(version.definition, sort_keys=False, allow_unicode=True),
        }


class SLOMinuteView(RoomView):
    """What was counted in one minute, and the samples that show it where the source still has them."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, slug: str, minute: int) -> HttpResponse:
        slo = self.slo_or_404(slug)
        if minute > LAST_MINUTE:
            raise Http404("There is no such minute.")
        facts = minute_facts(slo=slo, minute=minute)
        context: dict[str, Any] = {"title": f"{slo.name}, one minute", "slo": slo, "minute": minute, "facts": facts}
        context["starts_at"] = _instant(minute)
        context["source_now"] = database_now()
        if getattr(request, "htmx", False) and facts.version is not None:
            try:
                context["samples"] = samples_behind(version=facts.version, minute=minute)
            except InputRefusedError as error:
                context["problem"] = str(error)
            return TemplateResponse(request, "reliability/slo_samples.html", context)
        return TemplateResponse(request, "reliability/slo_minute.html", context)


def _instant(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _instants(foreseen: Any, now: datetime) -> dict[str, datetime | None]:
    if foreseen is None:
        return {}
    return {
        word: now + timedelta(hours=hours) if hours is not None else None
        for word, hours in (
            ("earliest", foreseen.earliest),
            ("likely", foreseen.likely),
            ("latest", foreseen.latest),
        )
    }


def _date(text: str) -> datetime | None:
    """Return the end of the day, in UTC, that a text names; None for none."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return day + timedelta(days=1)
