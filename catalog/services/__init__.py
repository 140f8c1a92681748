"""Changes to the catalog."""

from catalog.services.activities import (
    close_action_item,
    end_activity,
    open_action_item,
    record_deployment,
    reopen_action_item,
    start_activities,
    start_activity,
)
from catalog.services.documents import Applied, apply_documents

__all__ = [
    "Applied",
    "apply_documents",
    "close_action_item",
    "end_activity",
    "open_action_item",
    "record_deployment",
    "reopen_action_item",
    "start_activities",
    "start_activity",
]
