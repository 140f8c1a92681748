"""When what gauges measure runs full: by their values where a source keeps them, else by how often they are over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from reliability.domain.capacity import Reach, Trend, reach, trend
from reliability.models import SLO, GaugeDay, SLOVersion
from reliability.selectors.budgets import versions_in_force
from reliability.selectors.tallies import bucket_sums, minute_of, sums_before

DAYS = 56
MINUTES_A_DAY = 1440
RISING = {"lte", "lt"}
FAR_DAYS = 3650


@dataclass(frozen=True)
class Capacity:
    """A gauge's way to its limit, by day.

    `of_values`: points are the gauge's values and the limit is its threshold; else points are the share of readings
    beyond the threshold, and the limit is the share that is allowed.
    """

    slo: SLO
    version: SLOVersion
    of_values: bool
    rising: bool
    limit: float
    points: Sequence[tuple[int, float]]
    trend: Trend | None
    reach: Reach | None

    @property
    def last(self) -> float | None:
        """The last day's point."""
        return self.points[-1][1] if self.points else None

    @property
    def per_week(self) -> float | None:
        """The change in a week; None where no trend can be told."""
        return self.trend.slope * 7 if self.trend is not None else None

    def after(self, days: float | None) -> timedelta | None:
        """Return a time to the limit, None where it is never or beyond ten years."""
        return timedelta(days=days) if days is not None and days < FAR_DAYS else None

    @property
    def earliest(self) -> timedelta | None:
        """How long until the limit at the steepest slope that fits."""
        return self.after(self.reach.earliest) if self.reach else None

    @property
    def likely(self) -> timedelta | None:
        """How long until the limit."""
        return self.after(self.reach.likely) if self.reach else None

    @property
    def latest(self) -> timedelta | None:
        """How long until the limit at the flattest slope that fits."""
        return self.after(self.reach.latest) if self.reach else None

    @property
    def state(self) -> str:
        """The forecast in a word."""
        if self.trend is None:
            return "unknown"
        if self.likely == timedelta(0):
            return "spent"
        within = self.likely is not None and self.likely < timedelta(days=30) and self.trend.is_told
        return "at risk" if within else "ok"

    def as_json(self) -> dict[str, Any]:
        """Return what the command line says."""
        return {
            "name": self.slo.slug,
            "service": self.slo.service.slug,
            "judged_by": "values" if self.of_values else "share of readings beyond the threshold",
            "limit": self.limit,
            "last_day": self.last,
            "change_per_week": self.per_week,
            "days_to_limit_earliest": self.reach.earliest if self.reach else None,
            "days_to_limit": self.reach.likely if self.reach else None,
            "days_to_limit_latest": self.reach.latest if self.reach else None,
            "days_seen": len(self.points),
        }


def slos_on_gauges(slos: QuerySet[SLO]) -> QuerySet[SLO]:
    """Return those of these SLOs whose definition in force is on a gauge."""
    in_force = SLOVersion.objects.filter(slo=OuterRef("pk"), retired_at__isnull=True, indicator__has_key="value")
    return slos.filter(Exists(in_force))


def capacities(*, slos: Sequence[SLO], now: datetime) -> list[Capacity]:
    """Return the way to the limit of every SLO on a gauge, in a fixed number of queries."""
    versions = [one for one in versions_in_force(slos=slos) if "value" in one.indicator]
    roots = {version.tally_id for version in versions}
    values: dict[int, list[tuple[int, float]]] = {}
    for one in GaugeDay.objects.filter(version__in=roots, day__gte=(now - timedelta(days=DAYS)).date()):
        values.setdefault(one.version_id, []).append((one.day.toordinal(), one.peak))
    shares = _shares(versions, now)
    by_pk = {slo.pk: slo for slo in slos}
    found = []
    for version in versions:
        indicator, objective = version.indicator, version.all_objectives[0]
        points: list[tuple[int, float]] = values.get(version.tally_id, [])
        of_values, limit, rising = True, float(indicator["threshold"]), indicator["op"] in RISING
        if not points:
            points, of_values, rising = shares[version.tally_id], False, True
            strict = objective.slice_target if objective.slice_target not in {None, 1} else objective.target
            limit = 1 - float(strict or objective.target)
        line = trend(points)
        there = reach(line, limit, rising=rising) if line is not None else None
        found.append(Capacity(by_pk[version.slo_id], version, of_values, rising, limit, points, line, there))
    return sorted(found, key=lambda one: (one.likely is None, one.likely or timedelta(0), one.slo.slug))


def _shares(versions: Sequence[SLOVersion], now: datetime) -> dict[int, list[tuple[int, float]]]:
    """Return the share of readings beyond the threshold by whole day (as an ordinal) and tally."""
    end = minute_of(now) // MINUTES_A_DAY * MINUTES_A_DAY
    start = end - DAYS * MINUTES_A_DAY
    ids = {version.tally_id for version in versions}
    series = bucket_sums(ids, start_minute=start, end_minute=end, step=MINUTES_A_DAY)
    before = sums_before(ids, [start])
    epoch = datetime(1970, 1, 1, tzinfo=now.tzinfo).toordinal()
    found: dict[int, list[tuple[int, float]]] = {}
    for tally in ids:
        previous = before[tally, start]
        found[tally] = []
        for place, sums in enumerate(series[tally]):
            if sums is None:
                continue
            day = sums - previous
            previous = sums
            if day.good + day.bad:
                share = day.bad / (day.good + day.bad)
                found[tally].append((epoch + start // MINUTES_A_DAY + place, share))
    return found
