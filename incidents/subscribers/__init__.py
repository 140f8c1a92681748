"""What the room hears of others."""

from incidents.subscribers import burn_alerts, leavers, pages, runbook_runs

__all__ = ["burn_alerts", "leavers", "pages", "runbook_runs"]
