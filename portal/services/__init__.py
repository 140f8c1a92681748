"""What the pages across the rooms write."""

from portal.services.audit_export import TrailFormat, export_audit_log
from portal.services.saved_views import change_view, change_view_query, delete_view, open_list_with, save_view

__all__ = [
    "TrailFormat",
    "change_view",
    "change_view_query",
    "delete_view",
    "export_audit_log",
    "open_list_with",
    "save_view",
]
