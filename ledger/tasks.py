"""The log's recurring work."""

from datetime import timedelta

from core.periodic import periodic
from ledger.services.sealing import seal_pending


@periodic("ledger.seal", every=timedelta(seconds=1))
def seal() -> None:
    """Seal what has committed."""
    seal_pending()
