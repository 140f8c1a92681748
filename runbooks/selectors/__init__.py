"""Reads of runbooks and runs."""

from runbooks.selectors.reading import (
    fence_ticks,
    is_one_of,
    latest_revision,
    lines_of,
    newest_lines,
    remote_host,
    run_by_reference,
    runbook_by_slug,
    runbooks_called_by,
    runbooks_visible,
    runs_of_incident,
    runs_visible,
    step_of,
    waiting_approvals,
    waiting_confirmations,
)
from runbooks.selectors.standing import add_alert_source, step_records, uncovered, with_standing

__all__ = [
    "add_alert_source",
    "fence_ticks",
    "is_one_of",
    "latest_revision",
    "lines_of",
    "newest_lines",
    "remote_host",
    "run_by_reference",
    "runbook_by_slug",
    "runbooks_called_by",
    "runbooks_visible",
    "runs_of_incident",
    "runs_visible",
    "step_of",
    "step_records",
    "uncovered",
    "waiting_approvals",
    "waiting_confirmations",
    "with_standing",
]
