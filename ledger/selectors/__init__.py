"""Reads of the log."""

from ledger.models import LedgerEntry
from ledger.selectors.audit_trail import Place, Trail, TrailQuestion, trail, whole_trail
from ledger.selectors.log import (
    anchors,
    artifacts_of,
    checkpoints,
    entries,
    entry_by_seq,
    entry_types,
    forwarders,
    latest_checkpoint,
    latest_verification,
    log_size,
    pending_count,
    receipts,
    rotations,
    sealed_at,
    sealed_entries,
    sealed_of,
    seq_at,
)

__all__ = [
    "LedgerEntry",
    "Place",
    "Trail",
    "TrailQuestion",
    "anchors",
    "artifacts_of",
    "checkpoints",
    "entries",
    "entry_by_seq",
    "entry_types",
    "forwarders",
    "latest_checkpoint",
    "latest_verification",
    "log_size",
    "pending_count",
    "receipts",
    "rotations",
    "sealed_at",
    "sealed_entries",
    "sealed_of",
    "seq_at",
    "trail",
    "whole_trail",
]
