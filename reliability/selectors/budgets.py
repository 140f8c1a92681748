"""How SLOs stand: budgets, burn rates, states."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from core.clock import database_now
from reliability.data import BudgetState, BudgetStatus
from reliability.domain.budgets import Counts, Interval, budget_remaining_ratio, burn_rate, sli, time_to_exhaustion
from reliability.models import SLO, BurnAlert, SLOVersion
from reliability.selectors.tallies import (
    counts_in_last,
    last_measured_minutes,
    minute_of,
    sums_before,
    was_measured_recently,
)

AT_RISK_WITHIN = timedelta(days=7)
FAR = timedelta(days=36_500)
BURN_WINDOWS = {"5m": 5, "30m": 30, "1h": 60, "6h": 360, "1d": 1440, "3d": 4320}
WORST_LAST = (
    BudgetState.OK,
    BudgetState.NO_TRAFFIC,
    BudgetState.UNKNOWN,
    BudgetState.AT_RISK,
    BudgetState.BREACHED,
)


def slos_visible(*, viewer: Principal) -> QuerySet[SLO]:
    """Return the SLOs of services that the viewer may see."""
    found = SLO.objects.filter(part_of__isnull=True).select_related("service", "service__team")
    found = found.prefetch_related("burn_alerts")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    if not teams:
        return found.none()
    return found.filter(Q(service__team_id__in=teams) | Q(service__team__isnull=True))


def slo_by_slug(*, slug: str) -> SLO | None:
    """Return an SLO."""
    return SLO.objects.select_related("service", "service__team").filter(slug=slug, part_of__isnull=True).first()


def slos_for_service(*, service_id: int) -> QuerySet[SLO]:
    """Return a service's SLOs."""
    return SLO.objects.select_related("service").filter(service_id=service_id, part_of__isnull=True)


def version_in_force(*, slo: SLO) -> SLOVersion | None:
    """Return the definition that counts now."""
    return slo.versions.filter(retired_at__isnull=True).select_related("counts_with").first()


def versions_in_force(*, slos: Iterable[SLO]) -> list[SLOVersion]:
    """Return the definitions that count now, of several SLOs."""
    found = SLOVersion.objects.filter(slo__in=[slo.pk for slo in slos], retired_at__isnull=True)
    return list(found.select_related("counts_with"))


def versions_of(*, slo: SLO) -> QuerySet[SLOVersion]:
    """Return all definitions, newest first."""
    return slo.versions.select_related("counts_with", "data_source").order_by("-number")


def budget_status(*, slo: SLO, now: datetime | None = None) -> BudgetStatus | None:
    """Return how an SLO stands over its window, or None when no definition is in force."""
    return budget_statuses([slo], now=now).get(slo.pk)


def budget_statuses(slos: Iterable[SLO], *, now: datetime | None = None) -> dict[int, BudgetStatus]:
    """Return how SLOs stand, by primary key, in a fixed number of queries; those without a definition are left out."""
    now = now or database_now()
    by_pk = {slo.pk: slo for slo in slos}
    versions = list(SLOVersion.objects.filter(slo__in=by_pk, retired_at__isnull=True).select_related("counts_with"))
    end = minute_of(now) + 1
    starts = {version.pk: _first_minute(version, now) for version in versions}
    sums = sums_before((version.tally_id for version in versions), {end, end - 60, end - 4320, *starts.values()})
    last = last_measured_minutes(versions)
    alerts: dict[int, list[BurnAlert]] = {}
    for alert in BurnAlert.objects.filter(slo__in=by_pk):
        alerts.setdefault(alert.slo_id, []).append(alert)
    statuses = {}
    for version in versions:
        upto = sums[version.tally_id, end]
        statuses[version.slo_id] = _status(
            by_pk[version.slo_id],
            version,
            counts=upto - sums[version.tally_id, starts[version.pk]],
            last_hour=upto - sums[version.tally_id, end - 60],
            last_days=upto - sums[version.tally_id, end - 4320],
            last_minute=last.get(version.pk),
            alerts=alerts.get(version.slo_id, []),
            now=now,
        )
    return statuses


def burn_rates(*, slo: SLO, now: datetime | None = None) -> dict[str, Interval | None]:
    """Return the burn rate over each of `BURN_WINDOWS`; None without events or without a definition in force."""
    version = version_in_force(slo=slo)
    if version is None:
        return dict.fromkeys(BURN_WINDOWS)
    end = minute_of(now or database_now()) + 1
    sums = sums_before([version.tally_id], {end, *(end - minutes for minutes in BURN_WINDOWS.values())})
    upto = sums[version.tally_id, end]
    return {
        name: burn_rate(upto - sums[version.tally_id, end - minutes], version.target)
        for name, minutes in BURN_WINDOWS.items()
    }


def services_budget_state(service_ids: Iterable[int]) -> dict[int, BudgetState]:
    """Return the worst state among the SLOs of each service that has any."""
    slos = list(SLO.objects.select_related("service").filter(service_id__in=list(service_ids), part_of__isnull=True))
    statuses = budget_statuses(slos)
    states: dict[int, BudgetState] = {}
    for slo in slos:
        state = statuses[slo.pk].state if slo.pk in statuses else BudgetState.UNKNOWN
        states[slo.service_id] = max(states.get(slo.service_id, BudgetState.OK), state, key=WORST_LAST.index)
    return states


def firing_burn_alerts(*, service_ids: Iterable[int] | None = None) -> QuerySet[BurnAlert]:
    """Return burn alerts that are firing."""
    found = BurnAlert.objects.filter(state=BurnAlert.State.FIRING).select_related("slo", "slo__service")
    return found if service_ids is None else found.filter(slo__service_id__in=list(service_ids))


def _first_minute(version: SLOVersion, now: datetime) -> int:
    start, _ = version.window.bounds(now)
    return minute_of(start) if version.calendar else minute_of(now) + 1 - version.window_days * 1440


def _status(
    slo: SLO,
    version: SLOVersion,
    *,
    counts: Counts,
    last_hour: Counts,
    last_days: Counts,
    last_minute: int | None,
    alerts: Sequence[BurnAlert],
    now: datetime,
) -> BudgetStatus:
    window = version.window
    start, end = window.bounds(now)
    remaining = budget_remaining_ratio(counts, version.target)
    burn_1h = burn_rate(last_hour, version.target)
    exhausts_in = (
        time_to_exhaustion(remaining=remaining.low, burn=burn_1h.low, window=window.length)
        if remaining and burn_1h
        else None
    )
    lived_minutes = max((now - max(start, version.counted_from)) / timedelta(minutes=1), 1.0)
    recent = was_measured_recently(last_minute, now=now)
    firing = any(alert.state == BurnAlert.State.FIRING for alert in alerts)
    return BudgetStatus(
        slo_slug=slo.slug,
        service_slug=slo.service.slug,
        target=version.target,
        window=window.length,
        window_start=start,
        window_end=end,
        counts=counts,
        sli=sli(counts),
        remaining=remaining,
        burn_1h=burn_1h,
        burn_3d=burn_rate(last_days, version.target),
        exhausts_in=exhausts_in if exhausts_in is not None and exhausts_in < FAR else None,
        coverage_ratio=min(counts.minutes_measured / lived_minutes, 1.0),
        measured_recently=recent,
        last_measured_at=datetime.fromtimestamp((last_minute + 1) * 60, UTC) if last_minute is not None else None,
        firing=firing,
        frozen=any(alert.frozen_at for alert in alerts),
        state=_state(remaining, exhausts_in, recent=recent, firing=firing),
    )


def _state(remaining: Interval | None, exhausts_in: timedelta | None, *, recent: bool, firing: bool) -> BudgetState:
    if not recent:
        return BudgetState.UNKNOWN
    if remaining is None:
        return BudgetState.NO_TRAFFIC
    if remaining.high <= 0:
        return BudgetState.BREACHED
    if firing or remaining.low <= 0 or (exhausts_in is not None and exhausts_in < AT_RISK_WITHIN):
        return BudgetState.AT_RISK
    return BudgetState.OK


def status_as_json(status: BudgetStatus, rates: Mapping[str, Interval | None]) -> dict[str, object]:
    """Return a status as the command line and the REST API say it."""
    return {
        "name": status.slo_slug,
        "service": status.service_slug,
        "objective": "",
        "state": status.state.value,
        "target": str(status.target.normalize()),
        "window": f"{status.window.days}d",
        "window_start": status.window_start.isoformat(),
        "good": status.counts.good,
        "bad": status.counts.bad,
        "unknown": status.counts.unknown,
        "total": status.counts.total,
        "sli_low": status.sli.low if status.sli else None,
        "sli_high": status.sli.high if status.sli else None,
        "sli": status.sli.low if status.sli and status.sli.exact else None,
        "error_budget_remaining": [status.remaining.low, status.remaining.high] if status.remaining else None,
        "exhausts_in_seconds": status.exhausts_in.total_seconds() if status.exhausts_in is not None else None,
        "coverage": round(status.coverage_ratio, 4),
        "measured_recently": status.measured_recently,
        "firing": status.firing,
        "frozen": status.frozen,
        "burn_rates": {name: [rate.low, rate.high] if rate else None for name, rate in rates.items()},
    }


def burn_rate_now(*, slo: SLO, minutes: int) -> float | None:
    """Return the burn rate of the last minutes (its lower bound), or None without events or definition."""
    version = version_in_force(slo=slo)
    if version is None:
        return None
    burnt = burn_rate(counts_in_last(version=version, minutes=minutes, now=database_now()), version.target)
    return None if burnt is None else burnt.low
