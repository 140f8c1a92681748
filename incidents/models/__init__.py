"""The tables of the room: what comes in, incidents, who is on call."""

from incidents.models.escalation import (
    ContactMethod,
    EscalationPolicy,
    EscalationRun,
    EscalationStep,
    NotificationRule,
    Page,
)
from incidents.models.inbound import Alert, InboundEvent, Integration, Route
from incidents.models.incident import Incident, Review, RoleAssignment, TimelineEntry
from incidents.models.oncall import Absence, FeedToken, Schedule, ScheduleOverride, ScheduleVersion, SwapRequest
from incidents.models.silencing import Silence

__all__ = [
    "Absence",
    "Alert",
    "ContactMethod",
    "EscalationPolicy",
    "EscalationRun",
    "EscalationStep",
    "FeedToken",
    "InboundEvent",
    "Incident",
    "Integration",
    "NotificationRule",
    "Page",
    "Review",
    "RoleAssignment",
    "Route",
    "Schedule",
    "ScheduleOverride",
    "ScheduleVersion",
    "Silence",
    "SwapRequest",
    "TimelineEntry",
]
