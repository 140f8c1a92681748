"""What if, and back-test: another promise or other alerts, judged on the stored history before anything is changed."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from core.clock import database_now
from core.parsing import InputRefusedError, refuse
from reliability.domain.alerting import BurnTier
from reliability.domain.windows import Window
from reliability.forms import WhatIfForm
from reliability.models import SLOVersion
from reliability.selectors import TierResult, WhatIf, what_if
from reliability.selectors.charts import AXIS, firings, written_minutes
from reliability.selectors.spreads import kept_edges
from reliability.services import tiers_as_text, written_tiers, written_window
from reliability.views.access import RoomView

CHART_POINTS = 400
MOST_SHOWN = 200


@dataclass(frozen=True)
class Asked:
    """A promise and its alerts."""

    target: Decimal
    window: Window
    tiers: tuple[BurnTier, ...]
    le: float | None = None


@dataclass(frozen=True)
class Judged:
    """A promise and its alerts over the stored history."""

    asked: Asked
    fared: WhatIf
    tiers: list[tuple[TierResult, str]]

    @property
    def fired(self) -> int:
        """How often any tier would have fired."""
        return sum(len(result.firings) for result, _ in self.tiers)


class WhatIfView(RoomView):
    """One form, two columns: as it is, and as it would be."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        slo = self.slo_or_404(slug)
        version = self.version_or_404(slo)
        now = database_now()
        current = Asked(
            version.all_objectives[0].target if not version.is_composite else version.target,
            version.window,
            tuple(BurnTier(**values) for values in version.tiers),
        )
        initial = {
            "target": f"{current.target.normalize():f}",
            "window": current.window.label,
            "tiers": tiers_as_text(current.tiers),
        }
        edges = kept_edges(version=version) if version.indicator.get("keep_buckets") else []
        form = WhatIfForm({**initial, **request.GET.dict()} if request.GET else initial, edges=edges)
        asked, since = current, None
        if form.is_valid():
            if day := form.cleaned_data["since"]:
                since = datetime.combine(day, time(), UTC)
            asked = self._asked(form, current)
        as_is = _judged(version, current, since, now)
        as_asked = _judged(version, asked, since, now) if asked != current else None
        shown = as_asked or as_is
        context: dict[str, Any] = {
            "title": f"What if: {slo.name}",
            "slo": slo,
            "version": version,
            "form": form,
            "as_is": as_is,
            "as_asked": as_asked,
            "shown": shown,
            "happened": firings(slo_slug=slo.slug, since=shown.fared.since, until=now)[:MOST_SHOWN],
            "chart": _chart(as_is, as_asked),
            "firings": [
                (result.tier, datetime.fromtimestamp((one.start + 1) * 60, UTC), one, _length(one))
                for result, _ in shown.tiers
                for one in reversed(result.firings)
            ][:MOST_SHOWN],
        }
        return TemplateResponse(request, "reliability/slo_whatif.html", context)

    @staticmethod
    def _asked(form: WhatIfForm, current: Asked) -> Asked:
        """Return what the form asks for; what cannot be is said at the form."""
        data = form.cleaned_data
        try:
            target = _target(data["target"])
            window = current.window
            if data["window"] != current.window.label:
                window = written_window(data["window"], "Window")
            tiers = current.tiers
            if data["tiers"].strip() != tiers_as_text(current.tiers) or target != current.target:
                text = data["tiers"].replace("\n", ";")
                tiers = tuple(written_tiers(text, target, window.length, "Alert tiers")) if text.strip() else ()
        except InputRefusedError as error:
            form.add_error(None, str(error))
            return current
        return Asked(target, window, tiers, float(data["le"]) if data.get("le") else None)


def _target(text: str) -> Decimal:
    """Return a target that is written as a ratio or as percent. Raises InputRefusedError."""
    allowed = "a number between 0 and 1, or a percentage as 99.9 %, is allowed"
    try:
        number = Decimal(text.replace("%", "").strip())
    except InvalidOperation:
        raise refuse("Target", found=text, allowed=allowed) from None
    found = number / 100 if "%" in text or number >= 1 else number
    if not 0 < found < 1:
        raise refuse("Target", found=text, allowed=allowed)
    return found


def _judged(version: SLOVersion, asked: Asked, since: datetime | None, now: datetime) -> Judged:
    fared = what_if(
        version=version,
        target=asked.target,
        window=asked.window,
        tiers=asked.tiers,
        since=since,
        now=now,
        le=asked.le,
    )
    named = [
        (one, f"{written_minutes(one.tier.long_minutes)} and {written_minutes(one.tier.short_minutes)}")
        for one in fared.fired
    ]
    return Judged(asked, fared, named)


def _chart(as_is: Judged, as_asked: Judged | None) -> dict[str, Any]:
    """Return what was left of the budget over all that is stored, as it is and as it would be."""
    lines = [("As it is" if as_asked else "Left", "plain" if as_asked else "active", as_is)]
    if as_asked is not None:
        lines.append(("As asked", "active", as_asked))
    paths = [dict(one.fared.path) for _, _, one in lines]
    times = sorted(set().union(*paths))
    thin = max(len(times) // CHART_POINTS, 1)
    times = times[::-thin][::-1]
    return {
        "series": [{"label": label, "tone": tone, "width": 2} for label, tone, _ in lines],
        "rows": [times, *([_percent(path.get(one)) for one in times] for path in paths)],
        "unit": "%",
        "sync": AXIS,
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else round(value * 100, 2)


def _length(firing: Any) -> timedelta | None:
    return timedelta(minutes=firing.end - firing.start) if firing.end is not None else None
