"""Reads across the rooms."""

from portal.selectors.now import now_for
from portal.selectors.service_page import service_page, services_standing

__all__ = ["now_for", "service_page", "services_standing"]
