"""Reads of SLOs: every window is one subtraction of running sums."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from core.clock import database_now
from reliability.data import BudgetState, BudgetStatus
from reliability.domain.budgets import Counts, budget_remaining_ratio, burn_rate, sli, time_to_exhaustion
from reliability.models import SLO, BurnAlert, SLOVersion, Tally

RECENT = timedelta(minutes=3)
AT_RISK_WITHIN = timedelta(days=7)


def minute_of(instant: datetime) -> int:
    """Return the minute of an instant, counted from 1970 UTC."""
    return int(instant.timestamp() // 60)


def slos_visible(*, viewer: Principal) -> QuerySet[SLO]:
    """Return the SLOs of services that the viewer may see."""
    found = SLO.objects.select_related("service", "service__team").prefetch_related("burn_alerts")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    if not teams:
        return found.none()
    return found.filter(Q(service__team_id__in=teams) | Q(service__team__isnull=True))


def slo_by_slug(*, slug: str) -> SLO | None:
    """Return an SLO."""
    return SLO.objects.select_related("service").filter(slug=slug).first()


def slos_for_service(*, service_id: int) -> QuerySet[SLO]:
    """Return a service's SLOs."""
    return SLO.objects.select_related("service").filter(service_id=service_id)


def version_in_force(*, slo: SLO) -> SLOVersion | None:
    """Return the definition that counts now."""
    return slo.versions.filter(retired_at__isnull=True).first()


def counts_between(*, version: SLOVersion, start_minute: int, end_minute: int) -> Counts:
    """Return the events of the minutes `start_minute` to `end_minute - 1`."""
    return _sums_before(version, end_minute) - _sums_before(version, start_minute)


def counts_in_last(*, version: SLOVersion, minutes: int, now: datetime) -> Counts:
    """Return the events of the last `minutes` minutes, the one that is going on included."""
    end = minute_of(now) + 1
    return counts_between(version=version, start_minute=end - minutes, end_minute=end)


def measured_recently(*, version: SLOVersion, now: datetime) -> bool:
    """Say whether anything was measured lately."""
    return Tally.objects.filter(version=version, minute__gte=minute_of(now - RECENT)).exists()


def budget_status(*, slo: SLO, now: datetime | None = None) -> BudgetStatus | None:
    """Return how an SLO stands over its window, or None when no definition is in force."""
    version = version_in_force(slo=slo)
    if version is None:
        return None
    now = now or database_now()
    window = timedelta(days=version.window_days)
    counts = counts_in_last(version=version, minutes=version.window_days * 1440, now=now)
    remaining = budget_remaining_ratio(counts, version.target)
    burn_1h = burn_rate(counts_in_last(version=version, minutes=60, now=now), version.target)
    recent = measured_recently(version=version, now=now)
    firing = slo.burn_alerts.filter(state=BurnAlert.State.FIRING).exists()
    exhausts_in = (
        time_to_exhaustion(remaining=remaining.low, burn=burn_1h.low, window=window) if remaining and burn_1h else None
    )
    lived = max(min((now - version.effective_from) / timedelta(minutes=1), window / timedelta(minutes=1)), 1.0)
    if remaining is None or not recent:
        state = BudgetState.UNKNOWN
    elif remaining.high <= 0:
        state = BudgetState.BREACHED
    elif firing or remaining.low <= 0 or (exhausts_in is not None and exhausts_in < AT_RISK_WITHIN):
        state = BudgetState.AT_RISK
    else:
        state = BudgetState.OK
    return BudgetStatus(
        slo_slug=slo.slug,
        service_slug=slo.service.slug,
        target=version.target,
        window=window,
        counts=counts,
        sli=sli(counts),
        remaining=remaining,
        burn_1h=burn_1h,
        exhausts_in=exhausts_in,
        coverage_ratio=min(counts.minutes_measured / lived, 1.0),
        measured_recently=recent,
        firing=firing,
        state=state,
    )


def services_budget_state(service_ids: Iterable[int]) -> dict[int, BudgetState]:
    """Return the worst state among the SLOs of each service that has any."""
    worst = [BudgetState.OK, BudgetState.UNKNOWN, BudgetState.AT_RISK, BudgetState.BREACHED]
    states: dict[int, BudgetState] = {}
    for slo in SLO.objects.select_related("service").filter(service_id__in=list(service_ids)):
        status = budget_status(slo=slo)
        state = status.state if status else BudgetState.UNKNOWN
        known = states.get(slo.service_id, BudgetState.OK)
        states[slo.service_id] = max(known, state, key=worst.index)
    return states


def firing_burn_alerts(*, service_ids: Iterable[int] | None = None) -> QuerySet[BurnAlert]:
    """Return burn alerts that are firing."""
    found = BurnAlert.objects.filter(state=BurnAlert.State.FIRING).select_related("slo", "slo__service")
    return found if service_ids is None else found.filter(slo__service_id__in=list(service_ids))


def minute_series(*, version: SLOVersion, start_minute: int, end_minute: int) -> list[tuple[int, Counts]]:
    """Return the events of each measured minute of an interval, in order."""
    previous = _sums_before(version, start_minute)
    series = []
    rows = Tally.objects.filter(version=version, minute__gte=start_minute, minute__lt=end_minute).order_by("minute")
    for row in rows:
        current = _counts(row)
        series.append((row.minute, current - previous))
        previous = current
    return series


def _sums_before(version: SLOVersion, minute: int) -> Counts:
    row = Tally.objects.filter(version=version, minute__lt=minute).order_by("-minute").first()
    return _counts(row) if row else Counts()


def _counts(row: Tally) -> Counts:
    return Counts(row.good_sum, row.bad_sum, row.unknown_sum, row.minutes_sum)
