"""Typed actions by name, and the processes they find."""

from drivers.services.processes import ProcessSelector, find_processes
from drivers.services.registry import (
    action,
    action_is_active,
    actions,
    parse_arguments,
    plan_action,
    probe_action,
    register_action,
    run_action,
    undo_action,
)

__all__ = [
    "ProcessSelector",
    "action",
    "action_is_active",
    "actions",
    "find_processes",
    "parse_arguments",
    "plan_action",
    "probe_action",
    "register_action",
    "run_action",
    "undo_action",
]
