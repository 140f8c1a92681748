"""Evaluate burn-rate alerts and report windows to the ledger."""

from datetime import UTC, datetime
from decimal import Decimal

from django.db import transaction

from accounts.data import system_principal
from core.clock import database_now
from core.events import publish
from ledger.data.slo import BurnAlertChanged, SloWindowReported
from ledger.services import record
from reliability.domain.alerting import AlertDecision, BurnTier, decide
from reliability.domain.budgets import Interval, budget_remaining_ratio, burn_rate
from reliability.events import BurnAlertFired, BurnAlertResolved
from reliability.models import BurnAlert, SLOVersion
from reliability.selectors import counts_between, counts_in_last, measured_recently, minute_of

EVALUATOR = system_principal("slo-evaluator")


def evaluate(*, now: datetime | None = None) -> int:
    """Evaluate every alert tier of every SLO in force; returns how many changed."""
    now = now or database_now()
    changed = 0
    versions = SLOVersion.objects.filter(retired_at__isnull=True).select_related("slo", "slo__service")
    for version in versions:
        measured = measured_recently(version=version, now=now)
        for values in version.tiers:
            changed += _evaluate_tier(version, BurnTier(**values), measured=measured, now=now)
    return changed


@transaction.atomic
def _evaluate_tier(version: SLOVersion, tier: BurnTier, *, measured: bool, now: datetime) -> bool:
    slo = version.slo
    alert, _ = BurnAlert.objects.select_for_update().get_or_create(
        slo=slo, tier=tier.name, defaults={"severity": tier.severity, "changed_at": now, "evaluated_at": now}
    )
    long = counts_in_last(version=version, minutes=tier.long_minutes, now=now)
    short = counts_in_last(version=version, minutes=tier.short_minutes, now=now)
    decision = decide(tier, long=long, short=short, target=version.target, measured=measured)
    alert.burn_rate_long = _low(burn_rate(long, version.target))
    alert.burn_rate_short = _low(burn_rate(short, version.target))
    alert.evaluated_at, alert.severity = now, tier.severity
    firing = alert.state == BurnAlert.State.FIRING
    fired_at = alert.changed_at
    changed = (decision is AlertDecision.FIRE and not firing) or (decision is AlertDecision.RESOLVE and firing)
    if changed:
        alert.state = BurnAlert.State.OK if firing else BurnAlert.State.FIRING
        alert.changed_at = now
        if not firing:
            alert.alert_key = f"slo:{slo.slug}:{tier.name}:{int(now.timestamp())}"
    alert.save()
    if changed:
        _announce(version, tier, alert, fired_at=fired_at, now=now)
    return changed


def _announce(version: SLOVersion, tier: BurnTier, alert: BurnAlert, *, fired_at: datetime, now: datetime) -> None:
    slo = version.slo
    firing = alert.state == BurnAlert.State.FIRING
    record(
        BurnAlertChanged(
            slo=slo.slug,
            service=slo.service.slug,
            policy=tier.name,
            severity=tier.severity,
            state=alert.state,
            alert_key=alert.alert_key,
            long_window_seconds=tier.long_minutes * 60,
            short_window_seconds=tier.short_minutes * 60,
            burn_rate_long=_text(alert.burn_rate_long),
            burn_rate_short=_text(alert.burn_rate_short),
            threshold=_text(tier.threshold),
        ),
        actor=EVALUATOR.reference,
        subject=f"slo:{slo.slug}",
        occurred_at=now,
    )
    if firing:
        publish(
            BurnAlertFired(
                slo_slug=slo.slug,
                service_slug=slo.service.slug,
                policy=tier.name,
                severity=tier.severity,
                long_window_seconds=tier.long_minutes * 60,
                short_window_seconds=tier.short_minutes * 60,
                burn_rate_long=alert.burn_rate_long or 0.0,
                burn_rate_short=alert.burn_rate_short or 0.0,
                threshold=tier.threshold,
                fired_at=now,
                alert_key=alert.alert_key,
            )
        )
        return
    publish(
        BurnAlertResolved(
            slo_slug=slo.slug,
            service_slug=slo.service.slug,
            policy=tier.name,
            severity=tier.severity,
            fired_at=fired_at,
            resolved_at=now,
            alert_key=alert.alert_key,
        )
    )
    report_window(version=version, reason=f"burn alert {tier.name} resolved", now=now)


def report_window(*, version: SLOVersion, reason: str, now: datetime | None = None) -> None:
    """Record the SLO's window, as counted up to now, in the ledger."""
    now = now or database_now()
    minutes = version.window_days * 1440
    end = minute_of(now) + 1
    counts = counts_between(version=version, start_minute=end - minutes, end_minute=end)
    remaining = budget_remaining_ratio(counts, version.target)
    start = datetime.fromtimestamp((end - minutes) * 60, UTC)
    record(
        SloWindowReported(
            slo=version.slo.slug,
            service=version.slo.service.slug,
            definition_version=version.number,
            target=str(version.target),
            window_start=start,
            window_end=now,
            good_events=counts.good,
            bad_events=counts.bad,
            unknown_events=counts.unknown,
            minutes_measured=counts.minutes_measured,
            minutes_in_window=minutes,
            error_budget_remaining_ratio=_text(_low(remaining)),
            reason=reason,
        ),
        actor=EVALUATOR.reference,
        subject=f"slo:{version.slo.slug}",
        period=(start, now),
    )


def report_all_windows() -> None:
    """Record every SLO's window (daily)."""
    for version in SLOVersion.objects.filter(retired_at__isnull=True).select_related("slo", "slo__service"):
        report_window(version=version, reason="daily report")


def _low(figure: Interval | None) -> float | None:
    return None if figure is None else figure.low


def _text(value: float | None) -> str:
    return "" if value is None else str(Decimal(repr(value)).quantize(Decimal("0.0001")))


__all__ = ["evaluate", "report_all_windows", "report_window"]
