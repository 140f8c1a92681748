"""The tables of the room: what comes in, incidents, who is on call."""

from incidents.models.coordination import (
    ClockPause,
    IncidentTargets,
    IncidentTask,
    StatusPage,
    StatusSubscription,
    StatusUpdate,
)
from incidents.models.escalation import (
    ContactMethod,
    EscalationPolicy,
    EscalationRun,
    EscalationStep,
    NotificationRule,
    Page,
)
from incidents.models.inbound import Alert, InboundBody, InboundEvent, Integration, Route
from incidents.models.incident import FollowUp, Incident, Review, ReviewTask, RoleAssignment, TimelineEntry
from incidents.models.oncall import Absence, FeedToken, Schedule, ScheduleOverride, ScheduleVersion, SwapRequest
from incidents.models.silencing import Silence

__all__ = [
    "Absence",
    "Alert",
    "ClockPause",
    "ContactMethod",
    "EscalationPolicy",
    "EscalationRun",
    "EscalationStep",
    "FeedToken",
    "FollowUp",
    "InboundBody",
    "InboundEvent",
    "Incident",
    "IncidentTargets",
    "IncidentTask",
    "Integration",
    "NotificationRule",
    "Page",
    "Review",
    "ReviewTask",
    "RoleAssignment",
    "Route",
    "Schedule",
    "ScheduleOverride",
    "ScheduleVersion",
    "Silence",
    "StatusPage",
    "StatusSubscription",
    "StatusUpdate",
    "SwapRequest",
    "TimelineEntry",
]
