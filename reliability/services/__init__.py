"""Changes to SLOs, counts coming in, and their evaluation."""

from reliability.services.backfilling import backfill, request_backfill, run_backfills
from reliability.services.collecting import collect
from reliability.services.documents import apply_documents
from reliability.services.evaluating import evaluate
from reliability.services.exclusions import (
    Stretch,
    approve_exclusion,
    preview_exclusion,
    reject_exclusion,
    request_exclusion,
    withdraw_exclusion,
)
from reliability.services.openslo_queries import is_location
from reliability.services.otlp import forget_old_streams, receive_metrics, receive_spans
from reliability.services.otlp_answering import Export, ExportAnswer, answer_metrics, answer_traces
from reliability.services.otlp_bodies import MAX_BODY_BYTES, decode
from reliability.services.otlp_points import Received
from reliability.services.otlp_wire import WireRequest
from reliability.services.packing import look_after_tallies
from reliability.services.policies import grant_override, revoke_override, update_standings
from reliability.services.prober import Prober
from reliability.services.probing import LOCATION_FORMAT, LOCATION_WORK, count_unprobed, probe, probed_locations
from reliability.services.refreshing import refresh
from reliability.services.reporting import report_all_windows, report_ended_periods, report_window
from reliability.services.reports import report_html, report_pdf, write_ended_reports, write_report
from reliability.services.resolving import written_window
from reliability.services.samples import samples_behind
from reliability.services.saturating import read_gauge_days
from reliability.services.spreading import forget_old_spreads
from reliability.services.tiers import standard_tiers, tiers_as_text, written_tiers

__all__ = [
    "LOCATION_FORMAT",
    "LOCATION_WORK",
    "MAX_BODY_BYTES",
    "Export",
    "ExportAnswer",
    "Prober",
    "Received",
    "Stretch",
    "WireRequest",
    "answer_metrics",
    "answer_traces",
    "apply_documents",
    "approve_exclusion",
    "backfill",
    "collect",
    "count_unprobed",
    "decode",
    "evaluate",
    "forget_old_spreads",
    "forget_old_streams",
    "grant_override",
    "is_location",
    "look_after_tallies",
    "preview_exclusion",
    "probe",
    "probed_locations",
    "read_gauge_days",
    "receive_metrics",
    "receive_spans",
    "refresh",
    "reject_exclusion",
    "report_all_windows",
    "report_ended_periods",
    "report_html",
    "report_pdf",
    "report_window",
    "request_backfill",
    "request_exclusion",
    "revoke_override",
    "run_backfills",
    "samples_behind",
    "standard_tiers",
    "tiers_as_text",
    "update_standings",
    "withdraw_exclusion",
    "write_ended_reports",
    "write_report",
    "written_tiers",
    "written_window",
]
