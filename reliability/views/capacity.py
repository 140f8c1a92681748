"""When things run full: the trend of every gauge with a limit."""

from datetime import timedelta
from typing import Any

from django.urls import reverse

from accounts.services import principal_of
from core import formatting
from core.clock import database_now
from core.lists import Column, Empty, RecordListView
from core.templatetags.assay import sparkline
from reliability.navigation import may_view
from reliability.selectors import slos_visible
from reliability.selectors.capacity import Capacity, capacities, slos_on_gauges

NEVER = timedelta(days=36_500)


def _amount(row: Capacity, value: float | None) -> str:
    if value is None:
        return formatting.MISSING
    return f"{value:.4g}" if row.of_values else formatting.written_ratio(value, digits=1)


def _change(row: Capacity) -> str:
    if row.per_week is None or row.trend is None:
        return "too few days"
    sign = "+" if row.per_week > 0 else ""
    text = f"{sign}{row.per_week:.3g}" if row.of_values else f"{sign}{row.per_week * 100:.2f} points"
    return text if row.trend.is_told else f"{text}, not certain"


def _until(row: Capacity, value: timedelta | None) -> str:
    if row.trend is None:
        return formatting.MISSING
    if value is None:
        return "not at this pace"
    return "reached" if value == timedelta(0) else formatting.written_duration(value, parts=1)


class CapacityListView(RecordListView):
    """Every SLO on a gauge, the first to reach its limit at the top."""

    title = "Capacity"
    intro = "When what is measured reaches its limit, if the last eight weeks go on: a trend that outliers do not bend."
    noun = "gauges"
    columns = (
        Column(
            "name",
            "SLO",
            lambda row: row.slo.name,
            kind="strong",
            sort_key=lambda row: row.slo.name.lower(),
            href=lambda row: reverse("reliability:slo_detail", args=[row.slo.slug]),
        ),
        Column("state", "State", lambda row: row.state, kind="state", sort_key=lambda row: row.state),
        Column("service", "Service", lambda row: row.slo.service.name, sort_key=lambda row: row.slo.service.name),
        Column("by", "Judged by", lambda row: "its values" if row.of_values else "readings beyond the threshold"),
        Column("limit", "Limit", lambda row: row.limit, render=lambda row: _amount(row, row.limit), kind="number"),
        Column("last", "Last day", lambda row: row.last, render=lambda row: _amount(row, row.last), kind="number"),
        Column("week", "Change in a week", lambda row: row.per_week, render=_change, kind="number"),
        Column(
            "likely",
            "Reaches it in",
            lambda row: row.likely,
            render=lambda row: _until(row, row.likely),
            sort_key=lambda row: row.likely or NEVER if row.likely != timedelta(0) else timedelta(0),
        ),
        Column("earliest", "At the earliest", lambda row: row.earliest, render=lambda row: _until(row, row.earliest)),
        Column("latest", "At the latest", lambda row: row.latest, render=lambda row: _until(row, row.latest)),
        Column(
            "trend",
            "Eight weeks",
            lambda row: len(row.points),
            render=lambda row: sparkline([value for _, value in row.points], "Day by day"),
            wide_only=True,
        ),
    )
    default_sort = "likely"
    empty = Empty(
        "No SLO is on a gauge. Headroom, freshness and drift are promised as a thresholdMetric.",
        command=".venv/bin/python manage.py slo pack gpu-headroom --set service=NAME --apply",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> list[Capacity]:
        gauges = slos_on_gauges(slos_visible(viewer=principal_of(self.request)))
        return capacities(slos=list(gauges), now=database_now())
