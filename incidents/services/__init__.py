"""Changes: keep what comes in, decide on alerts, page, and take an incident from its opening to its review."""

from incidents.services.documents import Applied, apply_documents
from incidents.services.escalation import advance_after_dead_page, start_escalation, take_step
from incidents.services.integrations import (
    NewToken,
    add_integration,
    forget_old_beats,
    pause_integration,
    rotate_integration_token,
    save_mapping,
    store_internal,
    watch_floods,
    watch_heartbeats,
)
from incidents.services.lifecycle import (
    Opening,
    acknowledge_incident,
    assign_role,
    change_severity,
    link_runbook_run,
    mitigate_incident,
    open_incident,
    resolve_incident,
    resolve_quiet_incidents,
)
from incidents.services.oncall import add_override, end_override, record_daily_coverage, save_schedule
from incidents.services.paging import acknowledge_link, send_digests
from incidents.services.previewing import Preview, preview_documents
from incidents.services.processing import preview_route, process_event, release_suppressed
from incidents.services.reading import try_mapping
from incidents.services.receiving import (
    InboundRequest,
    Stored,
    UnknownSenderError,
    is_known_sender,
    receive,
    receive_many,
    replay,
    replay_since,
)
from incidents.services.reviews import add_follow_up, approve_review, edit_review
from incidents.services.silences import add_silence, end_silence
from incidents.services.standins import (
    add_absence,
    cancel_swap,
    feed_for,
    import_absences,
    import_overrides,
    make_feed,
    request_swap,
    take_swap,
    warn_of_gaps,
)
from incidents.services.timeline import add_timeline_entry, write_note

__all__ = [
    "Applied",
    "InboundRequest",
    "NewToken",
    "Opening",
    "Preview",
    "Stored",
    "UnknownSenderError",
    "acknowledge_incident",
    "acknowledge_link",
    "add_absence",
    "add_follow_up",
    "add_integration",
    "add_override",
    "add_silence",
    "add_timeline_entry",
    "advance_after_dead_page",
    "apply_documents",
    "approve_review",
    "assign_role",
    "cancel_swap",
    "change_severity",
    "edit_review",
    "end_override",
    "end_silence",
    "feed_for",
    "forget_old_beats",
    "import_absences",
    "import_overrides",
    "is_known_sender",
    "link_runbook_run",
    "make_feed",
    "mitigate_incident",
    "open_incident",
    "pause_integration",
    "preview_documents",
    "preview_route",
    "process_event",
    "receive",
    "receive_many",
    "record_daily_coverage",
    "release_suppressed",
    "replay",
    "replay_since",
    "request_swap",
    "resolve_incident",
    "resolve_quiet_incidents",
    "rotate_integration_token",
    "save_mapping",
    "save_schedule",
    "send_digests",
    "start_escalation",
    "store_internal",
    "take_step",
    "take_swap",
    "try_mapping",
    "warn_of_gaps",
    "watch_floods",
    "watch_heartbeats",
    "write_note",
]
