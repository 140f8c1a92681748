"""What other rooms call: record what happened, keep a file, seal, checkpoint, export."""

from ledger.services.artifacts import read_artifact, store_artifact
from ledger.services.recording import record
from ledger.services.sealing import seal_pending

__all__ = ["read_artifact", "record", "seal_pending", "store_artifact"]
