"""Reliability's recurring work."""

from datetime import timedelta

from core.periodic import periodic
from reliability.services import evaluate, forget_old_streams, report_all_windows


@periodic("reliability.evaluate", every=timedelta(seconds=5))
def evaluate_alerts() -> None:
    """Evaluate burn-rate alerts."""
    evaluate()


@periodic("reliability.report", every=timedelta(days=1))
def report() -> None:
    """Record every SLO's window in the ledger."""
    report_all_windows()


@periodic("reliability.forget", every=timedelta(hours=6))
def forget() -> None:
    """Drop the state of streams that have gone."""
    forget_old_streams()
