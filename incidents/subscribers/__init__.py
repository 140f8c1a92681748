"""What the room hears of others."""

from incidents.subscribers import burn_alerts, leavers, pages, runbook_runs, sign_ins

__all__ = ["burn_alerts", "leavers", "pages", "runbook_runs", "sign_ins"]
