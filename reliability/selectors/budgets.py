"""How SLOs stand: budgets, burn rates, states."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from core.clock import database_now
from reliability.data import BudgetState, BudgetStatus, DataStatus
from reliability.domain.budgets import (
    Counts,
    Interval,
    budget_remaining_ratio,
    burn_rate,
    known_burn_rate,
    known_sli,
    sli,
    time_to_exhaustion,
)
from reliability.domain.objectives import Method
from reliability.domain.significance import wilson_interval
from reliability.domain.windows import RollingWindow, Window
from reliability.models import SLO, BurnAlert, SLOVersion
from reliability.selectors.exclusions import Assumed
from reliability.selectors.looking import read_once
from reliability.selectors.reckoning import Reckoned, Subject, minute_after, reckon, subjects_of
from reliability.selectors.sources import data_statuses
from reliability.selectors.tallies import last_measured_minutes, minute_of, was_measured_recently

AT_RISK_WITHIN = timedelta(days=7)
SHORT_BURNS = {"1h": 60, "3d": 4320}
FAR = timedelta(days=36_500)
BURN_WINDOWS = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320}
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
    return slo.versions.filter(retired_at__isnull=True).select_related("slo", "slo__service", "counts_with").first()


def versions_in_force(*, slos: Iterable[SLO]) -> list[SLOVersion]:
    """Return the definitions that count now, of several SLOs, each with its SLO and service."""
    known = {slo.pk: slo for slo in slos}
    return list(read_once(("in force", *sorted(known)), lambda: _versions_in_force(known)))


def _versions_in_force(slos: Mapping[int, SLO]) -> list[SLOVersion]:
    # The document is long and nothing is reckoned from it; what the caller has of SLOs is not read again.
    found = SLOVersion.objects.filter(slo__in=slos, retired_at__isnull=True).select_related("counts_with")
    found = found.defer("definition", "counts_with__definition")
    service = SLO._meta.get_field("service")  # noqa: SLF001 Django's documented name
    if not all(service.is_cached(slo) for slo in slos.values()):
        return list(found.select_related("slo", "slo__service", "counts_with"))
    versions = list(found)
    for version in versions:
        version.slo = slos[version.slo_id]
    return versions


def versions_of(*, slo: SLO) -> QuerySet[SLOVersion]:
    """Return all definitions, newest first."""
    return slo.versions.select_related("counts_with", "data_source").order_by("-number")


def budget_status(*, slo: SLO, now: datetime | None = None) -> BudgetStatus | None:
    """Return how an SLO stands over its window, or None when no definition is in force."""
    return budget_statuses([slo], now=now).get(slo.pk)


def budget_statuses(
    slos: Iterable[SLO], *, now: datetime | None = None, burns: Mapping[str, int] = SHORT_BURNS
) -> dict[int, BudgetStatus]:
    """Return how SLOs stand, by primary key, in a fixed number of queries; those without a definition are left out.

    Of several objectives and windows, these are the first, which are alerted on; with burn rates over `burns`.
    """
    now = now or database_now()
    subjects = [found[0] for found in subjects_of(versions_in_force(slos=slos)).values()]
    asked = [(subject, subject.version.window, burns) for subject in subjects]
    return {subject.version.slo_id: status for subject, status in _statuses(asked, now=now)}


def detailed_statuses(
    slos: Iterable[SLO],
    *,
    now: datetime | None = None,
    known_at: datetime | None = None,
    assumed: Assumed | None = None,
) -> list[BudgetStatus]:
    """Return how SLOs stand by every objective, window and group, with burn rates over `BURN_WINDOWS`.

    With `now` in the past, as of then by the definition that was in force; with `known_at`, with the exclusions that
    were approved at that instant; with `assumed`, as if exclusions were decided otherwise.
    """
    moment = now or database_now()
    versions = versions_at(slos, moment)
    asked = []
    for version in versions:
        for subject in subjects_of([version], groups=True)[version.pk]:
            windows = version.all_windows if not subject.labels else version.all_windows[:1]
            asked += [(subject, window, BURN_WINDOWS) for window in windows]
    return [status for _, status in _statuses(asked, now=moment, known_at=known_at, assumed=assumed)]


def versions_at(slos: Iterable[SLO], moment: datetime) -> list[SLOVersion]:
    """Return the definitions that counted at an instant; before the first one, the first one with its older counts."""
    order = {slo.pk: position for position, slo in enumerate(slos)}
    found: dict[int, SLOVersion] = {}
    rows = SLOVersion.objects.filter(slo__in=order).select_related("slo", "slo__service", "counts_with")
    for version in rows.order_by("slo", "number"):
        began = version.effective_from <= moment
        if began or version.slo_id not in found:
            found[version.slo_id] = version
    kept = [one for one in found.values() if one.retired_at is None or one.retired_at > moment]
    return sorted(kept, key=lambda version: order[version.slo_id])


def burn_rates(*, slo: SLO, now: datetime | None = None) -> dict[str, Interval | None]:
    """Return the burn rate over each of `BURN_WINDOWS`; None without events or without a definition in force."""
    version = version_in_force(slo=slo)
    if version is None:
        return dict.fromkeys(BURN_WINDOWS)
    end = minute_after(now or database_now())
    subject = subjects_of([version])[version.pk][0]
    found = reckon([(subject, (end - minutes, end)) for minutes in BURN_WINDOWS.values()])
    return {name: burn_rate(one.units, subject.objective.target) for name, one in zip(BURN_WINDOWS, found, strict=True)}


def services_budget_state(service_ids: Iterable[int]) -> dict[int, BudgetState]:
    """Return the worst state among the SLOs in force of each service that has any."""
    slos = list(SLO.objects.select_related("service").filter(service_id__in=list(service_ids), part_of__isnull=True))
    statuses = budget_statuses(slos)
    states: dict[int, BudgetState] = {}
    for slo in slos:
        if slo.pk in statuses:
            worst = states.get(slo.service_id, BudgetState.OK)
            states[slo.service_id] = max(worst, statuses[slo.pk].state, key=WORST_LAST.index)
    return states


def firing_burn_alerts(*, service_ids: Iterable[int] | None = None) -> QuerySet[BurnAlert]:
    """Return burn alerts that are firing."""
    found = BurnAlert.objects.filter(state=BurnAlert.State.FIRING).select_related("slo", "slo__service")
    return found if service_ids is None else found.filter(slo__service_id__in=list(service_ids))


def window_minutes(window: Window, now: datetime) -> tuple[int, int]:
    """Return the first minute of the window that holds `now`, and the minute after the one that is going on."""
    end = minute_after(now)
    if isinstance(window, RollingWindow):
        return end - window.length // timedelta(minutes=1), end
    return minute_of(window.bounds(now)[0]), end


def _statuses(
    asked: Sequence[tuple[Subject, Window, Mapping[str, int]]],
    *,
    now: datetime,
    known_at: datetime | None = None,
    assumed: Assumed | None = None,
) -> list[tuple[Subject, BudgetStatus]]:
    """Return how subjects stand over their windows, with the burn rates that were asked for."""
    end = minute_after(now)
    wanted = []
    for subject, window, burns in asked:
        wanted.append((subject, window_minutes(window, now)))
        wanted += [(subject, (end - minutes, end)) for minutes in burns.values()]
    reckoned = iter(reckon(wanted, known_at=known_at, assumed=assumed))
    versions = {subject.version.pk: subject.version for subject, _, _ in asked}
    last = _last_minutes(subject for subject, _, _ in asked)
    readings = data_statuses(versions.values(), measured=last)
    alerts: dict[int, list[BurnAlert]] = {}
    keys = sorted({version.slo_id for version in versions.values()})
    for alert in read_once(("alerts", *keys), lambda: list(BurnAlert.objects.filter(slo__in=keys))):
        alerts.setdefault(alert.slo_id, []).append(alert)
    return [
        (
            subject,
            _status(
                subject,
                window,
                next(reckoned),
                {name: next(reckoned).units for name in burns},
                last_minute=last.get(subject.version.pk),
                alerts=alerts.get(subject.version.slo_id, []),
                reading=readings[subject.version.pk],
                now=now,
            ),
        )
        for subject, window, burns in asked
    ]


def _last_minutes(subjects: Iterable[Subject]) -> dict[int, int]:
    """Return the last minute in which all that a version counts was measured, by version."""
    wanted = {subject.version.pk: subject.counted_by for subject in subjects if not subject.labels}
    latest = last_measured_minutes(version for counted_by in wanted.values() for version in counted_by)
    return {
        pk: min(latest[version.pk] for version in counted_by)
        for pk, counted_by in wanted.items()
        if all(version.pk in latest for version in counted_by)
    }


def _status(
    subject: Subject,
    window: Window,
    reckoned: Reckoned,
    burns: Mapping[str, Counts],
    *,
    last_minute: int | None,
    alerts: Sequence[BurnAlert],
    reading: DataStatus,
    now: datetime,
) -> BudgetStatus:
    version, target = subject.version, subject.objective.target
    start, end = window.bounds(now)
    remaining = budget_remaining_ratio(reckoned.units, target)
    burn = {name: burn_rate(units, target) for name, units in burns.items()}
    fastest = burn.get("1h")
    exhausts_in = (
        time_to_exhaustion(remaining=remaining.low, burn=fastest.low, window=window.length)
        if remaining and fastest
        else None
    )
    lived_minutes = max((now - max(start, version.counted_from)) / timedelta(minutes=1), 1.0)
    measured = reckoned.raw_events.minutes_measured / max(len(subject.tallies), 1)
    recent = was_measured_recently(last_minute, now=now)
    firing = any(alert.state == BurnAlert.State.FIRING for alert in alerts)
    occurrences = subject.method is Method.OCCURRENCES and not version.is_composite
    return BudgetStatus(
        slo_slug=version.slo.slug,
        service_slug=version.slo.service.slug,
        target=target,
        window=window.length,
        window_start=start,
        window_end=end,
        counts=reckoned.events,
        sli=sli(reckoned.units),
        remaining=remaining,
        burn_1h=fastest,
        burn_3d=burn.get("3d"),
        exhausts_in=exhausts_in if exhausts_in is not None and exhausts_in < FAR else None,
        coverage_ratio=min(measured / lived_minutes, 1.0),
        measured_recently=recent,
        last_measured_at=min(datetime.fromtimestamp((last_minute + 1) * 60, UTC), now)
        if last_minute is not None
        else None,
        firing=firing,
        frozen=any(alert.frozen_at for alert in alerts),
        state=_state(remaining, exhausts_in, recent=recent, firing=firing),
        at=now,
        objective=subject.objective.name,
        method=version.method,
        window_label=window.label,
        labels=subject.labels,
        units=reckoned.units,
        raw_counts=reckoned.raw_events,
        raw_remaining=budget_remaining_ratio(reckoned.raw_units, target),
        adjusted=reckoned.adjusted,
        journey=reckoned.journey,
        confidence=wilson_interval(reckoned.units.good, reckoned.units.good + reckoned.units.bad)
        if occurrences
        else None,
        mode=reading.mode,
        data_state=reading.state.value,
        data_detail=reading.detail,
        burn=burn,
        known_burn={name: known_burn_rate(units, target) for name, units in burns.items()},
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


def status_as_json(status: BudgetStatus) -> dict[str, object]:
    """Return a status as the command line and the REST API say it.

    `sli`, `error_budget_remaining` and `burn_rates` are of the events of known outcome; their bounds stand beside them.
    """
    known = known_burn_rate(status.units, status.target)
    return {
        "name": status.slo_slug,
        "service": status.service_slug,
        "objective": status.objective,
        "target": float(status.target),
        "window": status.window_label,
        "at": status.at.isoformat(),
        "good": status.counts.good,
        "bad": status.counts.bad,
        "unknown": status.counts.unknown,
        "total": status.counts.total,
        "sli": known_sli(status.units),
        "sli_low": status.sli.low if status.sli else None,
        "sli_high": status.sli.high if status.sli else None,
        "error_budget_remaining": None if known is None else 1 - known,
        "coverage": round(status.coverage_ratio, 6),
        "mode": status.mode,
        "burn_rates": dict(status.known_burn),
        "state": status.state.value,
        "budgeting_method": status.method,
        "group": dict(status.labels),
        "window_start": status.window_start.isoformat(),
        "error_budget_remaining_low": status.remaining.low if status.remaining else None,
        "error_budget_remaining_high": status.remaining.high if status.remaining else None,
        "raw": {
            "good": status.raw_counts.good,
            "bad": status.raw_counts.bad,
            "unknown": status.raw_counts.unknown,
            "error_budget_remaining_low": status.raw_remaining.low if status.raw_remaining else None,
            "error_budget_remaining_high": status.raw_remaining.high if status.raw_remaining else None,
        },
        "adjusted": status.adjusted,
        "journey": [status.journey.low, status.journey.high] if status.journey else None,
        "confidence_95": list(status.confidence) if status.confidence else None,
        "exhausts_in_seconds": status.exhausts_in.total_seconds() if status.exhausts_in is not None else None,
        "measured_recently": status.measured_recently,
        "data_state": status.data_state,
        "data_detail": status.data_detail,
        "firing": status.firing,
        "frozen": status.frozen,
    }


def burn_rate_now(*, slo: SLO, minutes: int) -> float | None:
    """Return the burn rate of the last minutes (its lower bound), or None without events or definition."""
    version = version_in_force(slo=slo)
    if version is None:
        return None
    end = minute_after(database_now())
    subject = subjects_of([version])[version.pk][0]
    burnt = burn_rate(reckon([(subject, (end - minutes, end))])[0].units, subject.objective.target)
    return None if burnt is None else burnt.low
