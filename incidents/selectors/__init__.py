"""Reads of incidents, alerts, inbound events and on-call duty."""

from incidents.selectors.alerts import AlertGroup, alert_groups, silence_by_reference, silences_visible
from incidents.selectors.configured import configured_documents
from incidents.selectors.explaining import Chapter, explain_alert, explain_incident
from incidents.selectors.inbound import (
    inbound_event_by_reference,
    inbound_events,
    integration_by_slug,
    integrations,
    latest_events_of,
    routes,
)
from incidents.selectors.incidents import (
    alerts_visible,
    firing_alerts_of,
    follow_ups_of,
    incident_by_reference,
    incidents_visible,
    measured,
    open_incidents,
    review_of,
    timeline_of,
)
from incidents.selectors.oncall import (
    Coverage,
    coverage_of,
    gaps_between,
    on_call_now,
    schedule_by_slug,
    schedules,
    shifts_between,
)
from incidents.selectors.spending import Spent, spent_by
from incidents.selectors.status_pages import Board, board_of, status_page, status_pages
from incidents.selectors.targets import IncidentClock, clocks_of

__all__ = [
    "AlertGroup",
    "Board",
    "Chapter",
    "Coverage",
    "IncidentClock",
    "Spent",
    "alert_groups",
    "alerts_visible",
    "board_of",
    "clocks_of",
    "configured_documents",
    "coverage_of",
    "explain_alert",
    "explain_incident",
    "firing_alerts_of",
    "follow_ups_of",
    "gaps_between",
    "inbound_event_by_reference",
    "inbound_events",
    "incident_by_reference",
    "incidents_visible",
    "integration_by_slug",
    "integrations",
    "latest_events_of",
    "measured",
    "on_call_now",
    "open_incidents",
    "review_of",
    "routes",
    "schedule_by_slug",
    "schedules",
    "shifts_between",
    "silence_by_reference",
    "silences_visible",
    "spent_by",
    "status_page",
    "status_pages",
    "timeline_of",
]
