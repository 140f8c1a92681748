"""Reliability's recurring work."""

from datetime import timedelta

from core.beats import expect_probers
from core.periodic import periodic
from core.work import WorkQueue, declare_format, register_queue
from reliability.models import Backfill, Collection, Probe
from reliability.services import (
    LOCATION_FORMAT,
    LOCATION_WORK,
    backfill,
    collect,
    count_unprobed,
    evaluate,
    forget_old_spreads,
    forget_old_streams,
    look_after_tallies,
    probe,
    probed_locations,
    read_gauge_days,
    report_all_windows,
    report_ended_periods,
    update_standings,
    write_ended_reports,
)

COLLECTION_QUEUE = register_queue(
    WorkQueue(name="reliability.collect", model=Collection, handle=collect, lease_for=timedelta(minutes=3))
)

BACKFILL_QUEUE = register_queue(
    WorkQueue(name="reliability.backfill", model=Backfill, handle=backfill, lease_for=timedelta(minutes=10))
)

PROBE_QUEUE = register_queue(
    WorkQueue(name="reliability.probe", model=Probe, handle=probe, lease_for=timedelta(seconds=90))
)


declare_format(LOCATION_WORK, LOCATION_FORMAT)
expect_probers(probed_locations)


@periodic("reliability.unprobed", every=timedelta(seconds=15))
def unprobed() -> None:
    """Count as unknown the turns that no prober of their location has run."""
    count_unprobed()


@periodic("reliability.evaluate", every=timedelta(seconds=5))
def evaluate_alerts() -> None:
    """Evaluate burn-rate alerts."""
    evaluate()


@periodic("reliability.policies", every=timedelta(minutes=1))
def move_standings() -> None:
    """Move SLOs to the state of their error-budget policy."""
    update_standings()


@periodic("reliability.report", every=timedelta(days=1))
def report() -> None:
    """Record every SLO's window in the ledger."""
    report_all_windows()


@periodic("reliability.gauge-days", every=timedelta(hours=1))
def read_gauges() -> None:
    """Read what gauges reached on the days that are over."""
    read_gauge_days()


@periodic("reliability.service-levels", every=timedelta(hours=1))
def write_reports() -> None:
    """Write the service-level reports of months and quarters that have ended."""
    write_ended_reports()


@periodic("reliability.report-periods", every=timedelta(minutes=10))
def report_periods() -> None:
    """Record calendar periods that have ended."""
    report_ended_periods()


@periodic("reliability.tallies", every=timedelta(hours=1))
def tallies() -> None:
    """Pack days that are over, thin those beyond the horizon."""
    look_after_tallies()


@periodic("reliability.forget", every=timedelta(hours=6))
def forget() -> None:
    """Drop the state of streams that have gone, and buckets beyond their horizon."""
    forget_old_streams()
    forget_old_spreads()
