"""What the room hears of others."""

from incidents.subscribers import burn_alerts, pages

__all__ = ["burn_alerts", "pages"]
