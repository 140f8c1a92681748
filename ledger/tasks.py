"""The log's recurring work."""

from datetime import timedelta

from core.periodic import periodic
from ledger.selectors import log_size
from ledger.services import make_checkpoint, seal_pending


@periodic("ledger.seal", every=timedelta(seconds=1))
def seal() -> None:
    """Seal what has committed."""
    seal_pending()


@periodic("ledger.checkpoint", every=timedelta(hours=1))
def checkpoint() -> None:
    """Sign the log's size and root."""
    if log_size():
        make_checkpoint()
