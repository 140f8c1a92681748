"""The log's recurring work."""

from datetime import timedelta

from core.periodic import periodic
from core.work import WorkQueue, register_queue
from ledger.models import AnchorReceipt, LogVerification
from ledger.selectors import log_size
from ledger.services import anchor_checkpoint, make_checkpoint, perform_verification, seal_pending, tell_anchor
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


@periodic("ledger.seal", every=timedelta(seconds=1), while_held=True)
def seal() -> None:
    """Seal what has committed."""
    seal_pending()


@periodic("ledger.checkpoint", every=timedelta(hours=1), while_held=True)
def checkpoint() -> None:
    """Sign the log's size and root."""
    if log_size():
        anchor_checkpoint(make_checkpoint())
