"""Plan, approve, run, stop, schedule, clean."""

from chaos.services.approvals import approve_plan, ask_for_approval, withdraw_approvals_of
from chaos.services.cleaning import Remnant, verify_clean
from chaos.services.compiling import compile_experiment
from chaos.services.faults import note
from chaos.services.game_days import begin_game_day, current_step, end_game_day, end_step, game_day_spec, run_step
from chaos.services.guards import SCHEDULER, ask_guards, ask_guards_of
from chaos.services.kill_switch import engage_kill_switch, release_kill_switch, try_kill_switch
from chaos.services.planning import RunPlan, apply_documents, plan_as_json, plan_run, spec_of
from chaos.services.predicting import PredictedBudget, budget_spent, predicted_budgets
from chaos.services.retests import mend_finding, retest_is_running, retest_periods, tell_overdue_retests, waive_retest
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
    reap_dead_runs,
    retry_dirty_faults,
    stop_all_runs,
    stop_run,
    watch_runs,
)
from chaos.services.suites import SUITE_QUEUE, next_of_suite, run_suite_turn
from chaos.services.toolkit import Missing, export_experiment, import_experiment
from chaos.services.turns import run_turn

__all__ = [
    "SCHEDULER",
    "SCHEDULE_QUEUE",
    "START_QUEUE",
    "SUITE_QUEUE",
    "GuardRefusedError",
    "Missing",
    "PredictedBudget",
    "Remnant",
    "RunPlan",
    "apply_documents",
    "approve_plan",
    "ask_for_approval",
    "ask_guards",
    "ask_guards_of",
    "begin_game_day",
    "budget_spent",
    "clear_dirty_run",
    "compile_experiment",
    "current_step",
    "end_game_day",
    "end_step",
    "engage_kill_switch",
    "export_experiment",
    "finish_run",
    "game_day_spec",
    "import_experiment",
    "is_steady",
    "mend_finding",
    "next_of_suite",
    "note",
    "pause_schedule",
    "plan_as_json",
    "plan_run",
    "predicted_budgets",
    "reap_dead_runs",
    "release_kill_switch",
    "request_run",
    "retest_is_running",
    "retest_periods",
    "retry_dirty_faults",
    "run_step",
    "run_suite_turn",
    "run_turn",
    "spec_of",
    "start_runner",
    "stop_all_runs",
    "stop_run",
    "tell_overdue_retests",
    "try_kill_switch",
    "unsteady_because",
    "verify_clean",
    "waive_retest",
    "watch_runs",
    "withdraw_approvals_of",
]
