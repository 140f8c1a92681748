"""The room's recurring work, and the making of evidence packs."""

from datetime import timedelta

from compliance.models import PackExport, ScanRun
from compliance.services import load_packaged_if_changed, run_checks, run_export
from compliance.services.audits import EXPORT_QUEUE
from compliance.services.registers import close_campaigns
from compliance.services.risks import evaluate_indicators
from compliance.services.scan_runs import SCAN_QUEUE, run_scan
from core.periodic import periodic
from core.work import WorkQueue, register_queue

register_queue(
    WorkQueue(
        name=EXPORT_QUEUE,
        again_by="ask for a new pack in the audit room",
        model=PackExport,
        handle=run_export,
        lease_for=timedelta(minutes=15),
        max_attempts=3,
        select_related=("engagement",),
    )
)


register_queue(
    WorkQueue(
        name=SCAN_QUEUE,
        again_by="start a new scan",
        model=ScanRun,
        handle=run_scan,
        # The tool may take ten minutes, fetching two.
        lease_for=timedelta(minutes=15),
        batch=1,
        max_attempts=2,
    )
)


@periodic("compliance.load", every=timedelta(hours=1))
def load() -> None:
    """Load the frameworks and controls that come with the site, where they are missing or changed."""
    load_packaged_if_changed()


@periodic("compliance.indicators", every=timedelta(minutes=5))
def indicators() -> None:
    """Read the key risk indicators."""
    evaluate_indicators()


@periodic("compliance.policies", every=timedelta(hours=1))
def policies() -> None:
    """End acknowledging of policies whose time is over."""
    close_campaigns()


@periodic("compliance.check", every=timedelta(seconds=30))
def check() -> None:
    """Run every check."""
    run_checks()
