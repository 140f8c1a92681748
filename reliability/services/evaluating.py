"""Evaluate burn-rate alerts."""

from datetime import datetime

from django.db import transaction

from accounts.data import system_principal
from core.clock import database_now
from core.events import publish
from ledger.data.slo import BurnAlertChanged
from ledger.services import record
from reliability.domain.alerting import AlertDecision, BurnTier, decide
from reliability.domain.budgets import Counts, burn_rate
from reliability.events import BurnAlertFired, BurnAlertResolved
from reliability.models import BurnAlert, SLOVersion
from reliability.selectors import alert_counts, last_measured_minutes, minute_of, was_measured_recently
from reliability.services.reporting import decimal_text, low_of, report_window

EVALUATOR = system_principal("slo-evaluator")


def evaluate(*, now: datetime | None = None) -> int:
    """Evaluate every alert tier of every SLO in force; returns how many fired or resolved."""
    now = now or database_now()
    versions = list(
        SLOVersion.objects.filter(retired_at__isnull=True).select_related("slo", "slo__service", "counts_with")
    )
    tiers = [(version, BurnTier(**values)) for version in versions for values in version.tiers]
    last = last_measured_minutes(versions)
    counts = alert_counts(tiers, now=now)
    alerts = _alerts_of(tiers, now=now)
    changed = 0
    for version, tier in tiers:
        long, short = counts[version.pk, tier.name]
        alert = alerts.pop((version.slo_id, tier.name))
        decision = decide(
            tier,
            long=long,
            short=short,
            target=version.target,
            measured=was_measured_recently(last.get(version.pk), now=now),
            short_coverage_ratio=_coverage_ratio(version, tier, short, now=now),
        )
        alert.burn_rate_long = low_of(burn_rate(long, version.target))
        alert.burn_rate_short = low_of(burn_rate(short, version.target))
        alert.frozen_at = (alert.frozen_at or now) if decision is AlertDecision.FREEZE else None
        alert.evaluated_at, alert.severity = now, tier.severity
        firing = alert.state == BurnAlert.State.FIRING
        if (decision is AlertDecision.FIRE and not firing) or (decision is AlertDecision.RESOLVE and firing):
            changed += _change(version, tier, alert, now=now)
        alerts[version.slo_id, tier.name] = alert
    BurnAlert.objects.bulk_create(
        [alerts[version.slo_id, tier.name] for version, tier in tiers],
        batch_size=500,
        update_conflicts=True,
        unique_fields=["slo", "tier"],
        update_fields=["burn_rate_long", "burn_rate_short", "frozen_at", "evaluated_at", "severity"],
    )
    return changed + _drop_alerts_without_tier(versions, now=now)


def _alerts_of(tiers: list[tuple[SLOVersion, BurnTier]], *, now: datetime) -> dict[tuple[int, str], BurnAlert]:
    known = {(alert.slo_id, alert.tier): alert for alert in BurnAlert.objects.all()}
    missing = [
        BurnAlert(slo_id=version.slo_id, tier=tier.name, severity=tier.severity, changed_at=now, evaluated_at=now)
        for version, tier in tiers
        if (version.slo_id, tier.name) not in known
    ]
    if not missing:
        return known
    BurnAlert.objects.bulk_create(missing, ignore_conflicts=True)
    return {(alert.slo_id, alert.tier): alert for alert in BurnAlert.objects.all()}


def _coverage_ratio(version: SLOVersion, tier: BurnTier, short: Counts, *, now: datetime) -> float:
    """Return the measured share of the short window's full minutes since counting began."""
    end = minute_of(now)
    full = min(tier.short_minutes, end - minute_of(version.counted_from))
    return min(short.minutes_measured / full, 1.0) if full > 0 else 1.0


@transaction.atomic
def _change(version: SLOVersion, tier: BurnTier, alert: BurnAlert, *, now: datetime) -> bool:
    """Turn an alert over, in the ledger and for subscribers too; False when another worker was first."""
    was, fired_at = alert.state, alert.changed_at
    firing = was != BurnAlert.State.FIRING
    key = f"slo:{version.slo.slug}:{tier.name}:{int(now.timestamp())}" if firing else alert.alert_key
    turned = BurnAlert.objects.filter(pk=alert.pk, state=was, changed_at=fired_at).update(
        state=BurnAlert.State.FIRING if firing else BurnAlert.State.OK, changed_at=now, alert_key=key
    )
    if not turned:
        return False
    alert.state, alert.changed_at, alert.alert_key = BurnAlert.State.FIRING if firing else BurnAlert.State.OK, now, key
    _announce(version, tier, alert, fired_at=fired_at, now=now)
    return True


def _drop_alerts_without_tier(versions: list[SLOVersion], *, now: datetime) -> int:
    """End and delete alerts whose tier is no longer in the SLO's definition."""
    kept = {(version.slo_id, values["name"]) for version in versions for values in version.tiers}
    by_slo = {version.slo_id: version for version in versions}
    resolved = 0
    for alert in BurnAlert.objects.all():
        if (alert.slo_id, alert.tier) in kept:
            continue
        with transaction.atomic():
            version = by_slo.get(alert.slo_id)
            if alert.state == BurnAlert.State.FIRING and version is not None:
                tier = BurnTier(alert.tier, alert.severity, 0, 0, 0.0)
                resolved += _change(version, tier, alert, now=now)
            alert.delete()
    return resolved


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
            burn_rate_long=decimal_text(alert.burn_rate_long),
            burn_rate_short=decimal_text(alert.burn_rate_short),
            threshold=decimal_text(tier.threshold),
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
