"""The log's recurring work."""

from datetime import timedelta

from core.periodic import periodic
from core.work import WorkQueue, register_queue
from ledger.models import AnchorReceipt, Forwarder, LogVerification
from ledger.selectors import log_size
from ledger.services import (
    FORWARD_QUEUE,
    anchor_checkpoint,
    forward,
    make_checkpoint,
    nudge_forwarders,
    perform_verification,
    seal_pending,
    tell_anchor,
)
from ledger.services.anchoring import ANCHOR_QUEUE

VERIFICATIONS = register_queue(
    WorkQueue(
        name="ledger.verification",
        model=LogVerification,
        handle=perform_verification,
        lease_for=timedelta(minutes=10),
        max_attempts=3,
        while_held=True,
    )
)


ANCHORS = register_queue(
    WorkQueue(
        name=ANCHOR_QUEUE,
        model=AnchorReceipt,
        handle=tell_anchor,
        lease_for=timedelta(minutes=5),
        max_attempts=8,
        select_related=("anchor", "checkpoint"),
    )
)


FORWARDERS = register_queue(
    WorkQueue(
        name=FORWARD_QUEUE,
        model=Forwarder,
        handle=forward,
        lease_for=timedelta(seconds=90),
        max_attempts=1_000_000,
        rows=lambda: Forwarder.objects.filter(paused_at__isnull=True),
    )
)


# A worker that is killed in a turn keeps it from the others for this long; two sealers at once take turns on the head.
@periodic("ledger.seal", every=timedelta(seconds=1), while_held=True, lease_for=timedelta(seconds=20))
def seal() -> None:
    """Seal what has committed, and wake those who tell it outside."""
    if seal_pending():
        nudge_forwarders()


@periodic("ledger.checkpoint", every=timedelta(hours=1), while_held=True)
def checkpoint() -> None:
    """Sign the log's size and root."""
    if log_size():
        anchor_checkpoint(make_checkpoint())
