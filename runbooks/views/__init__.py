"""Pages of runbooks: the library, the documents, and the runs."""

from runbooks.views.documents import HistoryView, RevisionsView, RunbookDetailView
from runbooks.views.editing import PreviewView, RunbookCreateView, RunbookEditView
from runbooks.views.library import CoverageView, RunbookListView
from runbooks.views.runs import RunDetailView, RunListView, RunOutputView, RunPlanView

__all__ = [
    "CoverageView",
    "HistoryView",
    "PreviewView",
    "RevisionsView",
    "RunDetailView",
    "RunListView",
    "RunOutputView",
    "RunPlanView",
    "RunbookCreateView",
    "RunbookDetailView",
    "RunbookEditView",
    "RunbookListView",
]
