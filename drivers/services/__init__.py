"""Typed actions by name, and the processes they find."""

from drivers.services.agents import agents_with_faults_left, silent_agents
from drivers.services.processes import ProcessSelector, find_processes
from drivers.services.registry import (
    action,
    action_is_active,
    actions,
    described_action,
    foresee_action,
    inject_action,
    parse_arguments,
    plan_action,
    plan_as_json,
    probe_action,
    register_action,
    remains,
    risk_of_action,
    run_action,
    undo_action,
)
from drivers.services.watching import cancel_watchdog, start_watchdog

__all__ = [
    "ProcessSelector",
    "action",
    "action_is_active",
    "actions",
    "agents_with_faults_left",
    "cancel_watchdog",
    "described_action",
    "find_processes",
    "foresee_action",
    "inject_action",
    "parse_arguments",
    "plan_action",
    "plan_as_json",
    "probe_action",
    "register_action",
    "remains",
    "risk_of_action",
    "run_action",
    "silent_agents",
    "start_watchdog",
    "undo_action",
]
