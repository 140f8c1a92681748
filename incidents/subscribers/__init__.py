"""What the room hears of others."""

from incidents.subscribers import pages

__all__ = ["pages"]
