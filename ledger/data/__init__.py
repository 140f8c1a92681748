"""The schemas of the ledger's entries, by room. A new one is a class here; the ledger itself changes nothing."""

from ledger.data import (
    access,
    alerts,
    audits,
    changes,
    chaos,
    controls,
    custody,
    evidence,
    incidents,
    log,
    oncall,
    policies,
    recovery,
    risks,
    runbooks,
    scans,
    slo,
    vendors,
)
from ledger.data.base import EVIDENCE_NAMES, EvidenceType, LedgerPayload, payload_schema, payload_schemas

ROOMS = (
    access,
    alerts,
    audits,
    changes,
    chaos,
    controls,
    custody,
    evidence,
    incidents,
    log,
    oncall,
    policies,
    recovery,
    risks,
    runbooks,
    scans,
    slo,
    vendors,
)

__all__ = ["EVIDENCE_NAMES", "ROOMS", "EvidenceType", "LedgerPayload", "payload_schema", "payload_schemas"]
