"""Reads across the rooms."""

from portal.selectors.now import now_for
from portal.selectors.saved_views import saved_views_for, teams_to_share_with, views_offered
from portal.selectors.service_page import service_page, services_standing

__all__ = [
    "now_for",
    "saved_views_for",
    "service_page",
    "services_standing",
    "teams_to_share_with",
    "views_offered",
]
