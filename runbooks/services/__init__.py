"""Runbooks into force, runs forward, people's answers."""

from runbooks.services.answering import (
    answer_step,
    approve_step,
    break_glass,
    cancel_run,
    confirm_step,
    hand_over_run,
    pause_run,
    reject_step,
    resume_run,
    take_over_run,
    tick_command,
    withdraw_approvals_of,
)
from runbooks.services.arguments import keep_secret, resolve_arguments
from runbooks.services.documents import apply_documents, lint_documents, shipped_playbooks
from runbooks.services.hosts import apply_hosts
from runbooks.services.linting import is_by_hand, parse_runbook, risk_of
from runbooks.services.running import advance
from runbooks.services.scheduling import judge_exercises, start_scheduled_runs
from runbooks.services.starting import ADVANCE_QUEUE, plan_revision, plan_run, plan_run_step, start_run

__all__ = [
    "ADVANCE_QUEUE",
    "advance",
    "answer_step",
    "apply_documents",
    "apply_hosts",
    "approve_step",
    "break_glass",
    "cancel_run",
    "confirm_step",
    "hand_over_run",
    "is_by_hand",
    "judge_exercises",
    "keep_secret",
    "lint_documents",
    "parse_runbook",
    "pause_run",
    "plan_revision",
    "plan_run",
    "plan_run_step",
    "reject_step",
    "resolve_arguments",
    "resume_run",
    "risk_of",
    "shipped_playbooks",
    "start_run",
    "start_scheduled_runs",
    "take_over_run",
    "tick_command",
    "withdraw_approvals_of",
]
