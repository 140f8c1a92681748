"""What other rooms may hold of incidents, alerts and on-call duty."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class IncidentStatus(StrEnum):
    """Where an incident stands. It moves forward only; what comes back is a new incident."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How bad it is: SEV1 is the worst."""

    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"
    SEV4 = "sev4"


class IncidentRole(StrEnum):
    """Who does what in an incident."""

    COMMANDER = "commander"
    SCRIBE = "scribe"
    COMMUNICATIONS = "communications"
    RESPONDER = "responder"


# Part of the source key of a timeline entry that tells of a step that went on without its approval.
BREAK_GLASS = "break-glass"


class TimelineKind(StrEnum):
    """What sort of thing a timeline entry tells."""

    NOTE = "note"
    STATUS = "status"
    ALERT = "alert"
    PAGE = "page"
    RUNBOOK = "runbook"
    ROLE = "role"
    CAUSE = "cause"
    TASK = "task"
    TARGET = "target"
    OUTSIDE = "outside"


class PublicState(StrEnum):
    """What a status page says of an incident."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"


class AlertStatus(StrEnum):
    """Whether an alert's source says that it holds."""

    FIRING = "firing"
    RESOLVED = "resolved"


class IntegrationKind(StrEnum):
    """What an inbound integration speaks. INTERNAL is the site's own burn-rate alerts: it has no address."""

    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    PAGERDUTY = "pagerduty"
    CLOUDEVENTS = "cloudevents"
    STANDARD_WEBHOOKS = "standard-webhooks"
    GENERIC = "generic"
    GITHUB = "github"
    GITLAB = "gitlab"
    HEARTBEAT = "heartbeat"
    INTERNAL = "internal"


class InboundState(StrEnum):
    """What became of a stored inbound event. UNPARSED: kept and shown; its body is not of the expected shape."""

    RECEIVED = "received"
    PROCESSED = "processed"
    UNPARSED = "unparsed"


class EscalationState(StrEnum):
    """Where a run of an escalation policy stands."""

    RUNNING = "running"
    STOPPED = "stopped"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True)
class OnCallPerson:
    """A person on call now, until when, and why (`layer primary, turn 12 (version 3)` or `override OVR-4`)."""

    user_id: int
    username: str
    name: str
    mail: str
    schedule: str
    until: datetime | None
    why: str
    time_zone: str = "UTC"
