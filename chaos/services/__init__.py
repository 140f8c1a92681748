"""Plan, approve, run, stop, schedule, clean."""

from chaos.services.approvals import approve_plan, ask_for_approval
from chaos.services.cleaning import Remnant, verify_clean
from chaos.services.faults import note
from chaos.services.guards import SCHEDULER, ask_guards, ask_guards_of
from chaos.services.planning import RunPlan, apply_documents, plan_as_json, plan_run, spec_of
from chaos.services.running import (
    START_QUEUE,
    GuardRefusedError,
    finish_run,
    is_steady,
    request_run,
    start_runner,
    unsteady_because,
)
from chaos.services.schedules import SCHEDULE_QUEUE, pause_schedule
from chaos.services.stopping import (
    clear_dirty_run,
    engage_kill_switch,
    reap_dead_runs,
    release_kill_switch,
    retry_dirty_faults,
    stop_all_runs,
    stop_run,
    watch_runs,
)
from chaos.services.toolkit import Missing, export_experiment, import_experiment
from chaos.services.turns import run_turn

__all__ = [
    "SCHEDULER",
    "SCHEDULE_QUEUE",
    "START_QUEUE",
    "GuardRefusedError",
    "Missing",
    "Remnant",
    "RunPlan",
    "apply_documents",
    "approve_plan",
    "ask_for_approval",
    "ask_guards",
    "ask_guards_of",
    "clear_dirty_run",
    "engage_kill_switch",
    "export_experiment",
    "finish_run",
    "import_experiment",
    "is_steady",
    "note",
    "pause_schedule",
    "plan_as_json",
    "plan_run",
    "reap_dead_runs",
    "release_kill_switch",
    "request_run",
    "retry_dirty_faults",
    "run_turn",
    "spec_of",
    "start_runner",
    "stop_all_runs",
    "stop_run",
    "unsteady_because",
    "verify_clean",
    "watch_runs",
]
