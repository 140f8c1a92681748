"""What incidents announces. Every event is published in the transaction of the change, once."""

from datetime import datetime
from typing import ClassVar

from core.events import DomainEvent


class IncidentOpened(DomainEvent):
    """An incident was opened by a route, or by a person. Not published when an alert joins an open incident.

    `caused_by` is the source key of a declared chaos run or DR test on one of its services (`chaos:<run>`), else empty.
    """

    kind: ClassVar[str] = "incident.opened"

    incident_id: int
    reference: str
    title: str
    severity: str
    service_slugs: tuple[str, ...]
    alert_keys: tuple[str, ...]
    caused_by: str
    opened_at: datetime


class IncidentAcknowledged(DomainEvent):
    """A person has taken an incident on: the first acknowledgement only."""

    kind: ClassVar[str] = "incident.acknowledged"

    incident_id: int
    reference: str
    acknowledged_by: str
    acknowledged_at: datetime


class IncidentMitigated(DomainEvent):
    """The impact has ended, the cause may remain."""

    kind: ClassVar[str] = "incident.mitigated"

    incident_id: int
    reference: str
    mitigated_by: str
    mitigated_at: datetime


class IncidentResolved(DomainEvent):
    """An incident is over: by a person, or because its alerts stayed resolved for the quiet period."""

    kind: ClassVar[str] = "incident.resolved"

    incident_id: int
    reference: str
    service_slugs: tuple[str, ...]
    resolved_by: str
    resolved_at: datetime


class ReviewDrafted(DomainEvent):
    """The review of a resolved incident was drafted from its timeline; a person must finish it."""

    kind: ClassVar[str] = "incident.review-drafted"

    incident_id: int
    reference: str


class ReviewApproved(DomainEvent):
    """A review was approved by somebody other than its author."""

    kind: ClassVar[str] = "incident.review-approved"

    incident_id: int
    reference: str
    approved_by: str


class IncidentTargetBreached(DomainEvent):
    """Something took longer than the incident's targets allow: `acknowledge`, `mitigate`, `resolve`, `review` …"""

    kind: ClassVar[str] = "incident.target-breached"

    incident_id: int
    reference: str
    severity: str
    target: str
    allowed_seconds: float


class IncidentMerged(DomainEvent):
    """An incident turned out to be another one; its alerts and services have gone over."""

    kind: ClassVar[str] = "incident.merged"

    incident_id: int
    reference: str
    into: str


class StatusPublished(DomainEvent):
    """A status page said something about an incident."""

    kind: ClassVar[str] = "incident.status-published"

    reference: str
    page: str
    state: str
    title: str
    text: str
    published_at: datetime
