"""What this room writes to the ledger."""

import hashlib
from collections.abc import Sequence

import orjson

from accounts.data import Principal, system_principal
from core.clock import database_now
from incidents.domain.review_templates import SECTIONS, factors_in
from incidents.models import Alert, Incident, Review, Schedule, ScheduleVersion
from incidents.selectors.oncall import Coverage
from ledger.data.alerts import AlertHandled
from ledger.data.incidents import (
    IncidentAcknowledged,
    IncidentOpened,
    IncidentResolved,
    ReviewApproved,
    SeverityDecided,
    TimelineFact,
)
from ledger.data.oncall import OnCallCovered, ScheduleDeclared
from ledger.services import Record, record, record_many, store_artifact

TIMELINE_IN_LEDGER = 500


def detection_source_of(incident: Incident) -> str:
    """Return what found the incident: the sender of its first alert, or a person."""
    first = incident.alerts.select_related("integration").order_by("pk").first()
    if first is not None:
        return f"alert:{first.integration.slug}"
    return "person"


def record_opened(opened: Sequence[tuple[Incident, tuple[str, ...], str]], *, principal: Principal) -> None:
    """Record that incidents were opened; of each, the services by slug, and what detected it."""
    record_many(
        [
            Record(
                IncidentOpened(
                    incident=incident.reference,
                    title=incident.title,
                    severity=incident.severity,
                    services=list(service_slugs),
                    detection_source=detected_by,
                    detected_at=incident.detected_at,
                    caused_by=incident.caused_by,
                ),
                actor=principal.reference,
                subject=f"incident:{incident.reference}",
                occurred_at=incident.triggered_at,
            )
            for incident, service_slugs, detected_by in opened
        ]
    )


def record_acknowledged(incident: Incident, *, principal: Principal) -> None:
    """Record who took an incident on, and how long that took."""
    record(
        IncidentAcknowledged(
            incident=incident.reference,
            severity=incident.severity,
            acknowledged_at=incident.acknowledged_at or database_now(),
            first_notified_at=incident.first_notified_at,
        ),
        actor=principal.reference,
        subject=f"incident:{incident.reference}",
        occurred_at=incident.acknowledged_at,
    )


def record_severity(incident: Incident, *, principal: Principal, before: str, reason: str) -> None:
    """Record a decision on severity."""
    record(
        SeverityDecided(incident=incident.reference, before=before, after=incident.severity, reason=reason),
        actor=principal.reference,
        subject=f"incident:{incident.reference}",
    )


def record_resolved(incident: Incident, *, principal: Principal, service_slugs: tuple[str, ...], reason: str) -> None:
    """Record an incident whole, and each of its alerts that was not recorded yet."""
    entries = list(incident.timeline.all()[:TIMELINE_IN_LEDGER])
    runs = sorted({e.source_key.split(":")[1] for e in entries if e.source_key.startswith("runbook:")})
    record(
        IncidentResolved(
            incident=incident.reference,
            title=incident.title,
            severity=incident.severity,
            services=list(service_slugs),
            detection_source=detection_source_of(incident),
            caused_by=incident.caused_by,
            impact_started_at=incident.impact_started_at,
            detected_at=incident.detected_at,
            declared_at=incident.triggered_at,
            first_notified_at=incident.first_notified_at,
            acknowledged_at=incident.acknowledged_at,
            mitigated_at=incident.mitigated_at,
            resolved_at=incident.resolved_at or database_now(),
            resolution=reason or f"by {principal.label}",
            runbook_runs=runs,
            timeline=[TimelineFact(at=entry.at, kind=entry.kind, text=entry.text[:500]) for entry in entries],
        ),
        actor=principal.reference,
        subject=f"incident:{incident.reference}",
        occurred_at=incident.resolved_at,
    )
    for alert in incident.alerts.select_related("integration", "route__policy", "service").filter(handled_at=None):
        record_alert(alert, closed_as="incident resolved")


def record_alert(alert: Alert, *, closed_as: str) -> None:
    """Record, once, what was done with an alert."""
    now = database_now()
    if not Alert.objects.filter(pk=alert.pk, handled_at=None).update(handled_at=now):
        return
    incident = alert.incident
    route = alert.route
    record(
        AlertHandled(
            alert=alert.key,
            fingerprint=alert.fingerprint,
            rule=str(alert.labels.get("alertname", "")) or alert.title,
            source=alert.integration.slug,
            service=alert.service.slug if alert.service else "",
            severity=str(alert.labels.get("severity", "")),
            routed_to=(route.policy.slug if route.policy else route.slug) if route else "",
            decision=alert.decision,
            incident=incident.reference if incident else "",
            fired_at=alert.starts_at,
            first_notified_at=incident.first_notified_at if incident else None,
            acknowledged_at=incident.acknowledged_at if incident else None,
            resolved_at=alert.resolved_at,
            closed_as=closed_as,
        ),
        actor=system_principal("alert-router").reference,
        subject=f"service:{alert.service.slug}" if alert.service else f"integration:{alert.integration.slug}",
    )


def record_review(review: Review, *, principal: Principal, author: str, follow_ups: list[str]) -> None:
    """Record an approved review and keep its document as an artifact."""
    incident = review.incident
    factors = [
        words if kind == "other" else f"{kind}: {words}" for kind, words in factors_in(review.contributing_factors)
    ]
    document = orjson.dumps(
        {
            "incident": incident.reference,
            **{name: getattr(review, name) for name in SECTIONS},
            "tasks": [
                {"title": task.title, "state": task.state, "reason": task.reason, "by": task.settled_by}
                for task in review.tasks.all()
            ],
            "drafted": review.drafted,
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )
    digest = store_artifact(document, media_type="application/json", name=f"review-{incident.reference}.json")
    record(
        ReviewApproved(
            incident=incident.reference,
            severity=incident.severity,
            author=author,
            resolved_at=incident.resolved_at or database_now(),
            approved_at=review.approved_at or database_now(),
            contributing_factors=factors,
            follow_ups=follow_ups,
            document_sha256=digest,
        ),
        actor=principal.reference,
        subject=f"incident:{incident.reference}",
        occurred_at=review.approved_at,
        artifacts=(digest,),
    )


def record_schedule_version(schedule: Schedule, version: ScheduleVersion, *, principal: Principal) -> None:
    """Record that a version of a schedule was declared."""
    definition = orjson.dumps(version.layers, option=orjson.OPT_SORT_KEYS)
    record(
        ScheduleDeclared(
            schedule=schedule.slug,
            schedule_version=version.number,
            effective_from=version.effective_from,
            definition_sha256=hashlib.sha256(definition).hexdigest(),
        ),
        actor=principal.reference,
        subject=f"schedule:{schedule.slug}",
    )


def record_coverage(schedule: Schedule, coverage: Coverage) -> None:
    """Record how much of a window somebody was on call."""
    record(
        OnCallCovered(
            schedule=schedule.slug,
            window_start=coverage.start,
            window_end=coverage.end,
            covered_seconds=int(coverage.covered.total_seconds()),
            window_seconds=int((coverage.end - coverage.start).total_seconds()),
            gaps=len(coverage.gaps),
        ),
        actor=system_principal("oncall").reference,
        subject=f"schedule:{schedule.slug}",
        period=(coverage.start, coverage.end),
    )
