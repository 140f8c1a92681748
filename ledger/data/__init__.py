"""The schemas of the ledger's entries, by room. A new one is a class here; the ledger itself changes nothing."""

from ledger.data.base import EVIDENCE_NAMES, EvidenceType, LedgerPayload, payload_schema, payload_schemas

__all__ = ["EVIDENCE_NAMES", "EvidenceType", "LedgerPayload", "payload_schema", "payload_schemas"]
