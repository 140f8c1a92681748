"""Plan, approve, run, stop."""

from chaos.services.planning import RunPlan, apply_documents, approve_plan, ask_guards, plan_as_json, plan_run, spec_of
from chaos.services.running import (
    START_QUEUE,
    GuardRefusedError,
    engage_kill_switch,
    finish_run,
    is_steady,
    reap_dead_runs,
    release_kill_switch,
    request_run,
    retry_dirty_faults,
    start_runner,
    stop_run,
    watch_runs,
)

__all__ = [
    "START_QUEUE",
    "GuardRefusedError",
    "RunPlan",
    "apply_documents",
    "approve_plan",
    "ask_guards",
    "engage_kill_switch",
    "finish_run",
    "is_steady",
    "plan_as_json",
    "plan_run",
    "reap_dead_runs",
    "release_kill_switch",
    "request_run",
    "retry_dirty_faults",
    "spec_of",
    "start_runner",
    "stop_run",
    "watch_runs",
]
