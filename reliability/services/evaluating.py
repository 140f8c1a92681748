"""Evaluate burn-rate alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
from reliability.selectors import (
    Subject,
    last_measured_minutes,
    minute_of,
    reckon,
    subjects_of,
    was_measured_recently,
    window_minutes,
)
from reliability.services.reporting import decimal_text, low_of, report_window

EVALUATOR = system_principal("slo-evaluator")
NO_DATA = "no data"


def evaluate(*, now: datetime | None = None) -> int:
    """Evaluate every alert tier of every SLO in force; returns how many fired or resolved.

    A tier is judged on the SLO's first objective, in the units of its budgeting method, without what is excluded.
    """
    now = now or database_now()
    found = SLOVersion.objects.filter(retired_at__isnull=True, slo__part_of__isnull=True)
    versions = list(found.select_related("slo", "slo__service", "counts_with"))
    tiers = [(version, BurnTier(**values)) for version in versions for values in version.tiers]
    subjects = {pk: subjects[0] for pk, subjects in subjects_of({version for version, _ in tiers}).items()}
    judged = _judged(tiers, subjects, now=now)
    alerts = _alerts_of(tiers, now=now)
    changed = 0
    for (version, tier), one in zip(tiers, judged, strict=True):
        alert = alerts.pop((version.slo_id, tier.name))
        target = subjects[version.pk].objective.target
        alert.burn_rate_long = low_of(burn_rate(one.long, target))
        alert.burn_rate_short = low_of(burn_rate(one.short, target))
        alert.frozen_at = (alert.frozen_at or now) if one.decision is AlertDecision.FREEZE else None
        alert.pending_since = (alert.pending_since or now) if one.decision is AlertDecision.FIRE else None
        alert.evaluated_at, alert.severity = now, tier.severity
        if _turns(tier, alert, one, now=now):
            changed += _change(version, tier, alert, reason="" if one.measured else NO_DATA, now=now)
        alerts[version.slo_id, tier.name] = alert
    BurnAlert.objects.bulk_create(
        [alerts[version.slo_id, tier.name] for version, tier in tiers],
        batch_size=500,
        update_conflicts=True,
        unique_fields=["slo", "tier"],
        update_fields=["burn_rate_long", "burn_rate_short", "frozen_at", "pending_since", "evaluated_at", "severity"],
    )
    return changed + _drop_alerts_without_tier(versions, now=now)


@dataclass(frozen=True)
class _Judged:
    """A tier's decision and the units that it was made from."""

    long: Counts
    short: Counts
    measured: bool
    decision: AlertDecision


def _judged(
    tiers: list[tuple[SLOVersion, BurnTier]], subjects: Mapping[int, Subject], *, now: datetime
) -> list[_Judged]:
    """Judge all tiers from a fixed number of reads.

    A window holds its full minutes and the one that is going on: never less than it promises, so that an alert with a
    short window of a minute is not judged by the first second of the next.
    """
    end = minute_of(now) + 1
    wanted = []
    for version, tier in tiers:
        subject = subjects[version.pk]
        wanted += [(subject, (end - minutes - 1, end)) for minutes in (tier.long_minutes, tier.short_minutes)]
        if tier.budget_share is not None:
            wanted.append((subject, window_minutes(version.window, now)))
    reckoned = iter(reckon(wanted))
    last = last_measured_minutes(part for subject in subjects.values() for part in subject.counted_by)
    found = []
    for version, tier in tiers:
        subject = subjects[version.pk]
        long, short = next(reckoned), next(reckoned)
        whole = next(reckoned) if tier.budget_share is not None else None
        measured = all(was_measured_recently(last.get(part.pk), now=now) for part in subject.counted_by)
        decision = decide(
            tier,
            long=long.units,
            short=short.units,
            target=subject.objective.target,
            measured=measured,
            short_coverage_ratio=_coverage_ratio(subject, tier, short.raw_events, now=now),
            events_in_window=_expected_events(version, whole.units, now=now) if whole is not None else None,
        )
        found.append(_Judged(long.units, short.units, measured, decision))
    return found


def _expected_events(version: SLOVersion, so_far: Counts, *, now: datetime) -> float:
    """Return the events of a whole window at the traffic so far, where counting began within it."""
    start, _ = version.window.bounds(now)
    lived = (now - max(start, version.counted_from)) / version.window.length
    return so_far.total / min(max(lived, 1e-6), 1.0)


def _turns(tier: BurnTier, alert: BurnAlert, judged: _Judged, *, now: datetime) -> bool:
    """Say whether the alert changes its state."""
    if alert.state == BurnAlert.State.FIRING:
        return judged.decision is AlertDecision.RESOLVE
    if not judged.measured:
        return tier.when_no_data
    waited = alert.pending_since is not None and now - alert.pending_since >= timedelta(minutes=tier.wait_minutes)
    return judged.decision is AlertDecision.FIRE and tier.when_breaching and waited


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


def _coverage_ratio(subject: Subject, tier: BurnTier, short: Counts, *, now: datetime) -> float:
    """Return the measured share of the short window's full minutes since counting began."""
    full = min(tier.short_minutes, minute_of(now) - minute_of(subject.version.counted_from))
    measured = short.minutes_measured / max(len(subject.tallies), 1)
    return min(measured / full, 1.0) if full > 0 else 1.0


@transaction.atomic
def _change(version: SLOVersion, tier: BurnTier, alert: BurnAlert, *, now: datetime, reason: str = "") -> bool:
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
    _announce(version, tier, alert, fired_at=fired_at, reason=reason, now=now)
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


def _announce(
    version: SLOVersion, tier: BurnTier, alert: BurnAlert, *, fired_at: datetime, reason: str, now: datetime
) -> None:
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
                reason=reason,
            )
        )
        return
    report_window(version=version, reason=f"burn alert {tier.name} resolved", now=now)
    if not tier.tell_resolved:
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
