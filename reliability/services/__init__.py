"""Changes to SLOs, counts coming in, and their evaluation."""

from reliability.services.documents import apply_documents
from reliability.services.evaluating import evaluate, report_all_windows, report_window
from reliability.services.otlp import Received, decode, forget_old_streams, receive_metrics, receive_spans

__all__ = [
    "Received",
    "apply_documents",
    "decode",
    "evaluate",
    "forget_old_streams",
    "receive_metrics",
    "receive_spans",
    "report_all_windows",
    "report_window",
]
