"""Runbooks into force, runs forward, people's answers."""

from runbooks.services.documents import apply_documents, parse_runbook
from runbooks.services.running import (
    ADVANCE_QUEUE,
    advance,
    approve_step,
    cancel_run,
    confirm_step,
    reject_step,
    resolve_arguments,
    start_run,
)

__all__ = [
    "ADVANCE_QUEUE",
    "advance",
    "apply_documents",
    "approve_step",
    "cancel_run",
    "confirm_step",
    "parse_runbook",
    "reject_step",
    "resolve_arguments",
    "start_run",
]
