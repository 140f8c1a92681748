"""Faults that end by themselves."""

from drivers.watchdog import cancel_watchdog, start_watchdog

__all__ = ["cancel_watchdog", "start_watchdog"]
