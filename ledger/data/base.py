"""What every entry's payload has in common, and the register of payload schemas."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class EvidenceType(StrEnum):
    """The fifteen kinds of evidence that operations leave behind."""

    SLO = "SLO"
    ALR = "ALR"
    INC = "INC"
    PIR = "PIR"
    ONC = "ONC"
    RUN = "RUN"
    CHS = "CHS"
    DRT = "DRT"
    IAC = "IAC"
    CHG = "CHG"
    ACR = "ACR"
    AUD = "AUD"
    VND = "VND"
    RSK = "RSK"
    CTL = "CTL"


EVIDENCE_NAMES: dict[EvidenceType, str] = {
    EvidenceType.SLO: "SLO and error-budget report",
    EvidenceType.ALR: "Alert record",
    EvidenceType.INC: "Incident record",
    EvidenceType.PIR: "Post-incident review",
    EvidenceType.ONC: "On-call schedule and hand-over",
    EvidenceType.RUN: "Runbook execution",
    EvidenceType.CHS: "Chaos experiment",
    EvidenceType.DRT: "Recovery test",
    EvidenceType.IAC: "Infrastructure-as-code scan",
    EvidenceType.CHG: "Change or deployment",
    EvidenceType.ACR: "Access review",
    EvidenceType.AUD: "Audit log",
    EvidenceType.VND: "Vendor record",
    EvidenceType.RSK: "Risk record",
    EvidenceType.CTL: "Control test",
}


class LedgerPayload(BaseModel):
    """What an entry says happened.

    A subclass names its `entry_type` (`incident.resolved`), a `version` that changes whenever the fields do, and the
    `evidence_type` it counts as, if any. Fields hold text, whole numbers, booleans, lists and maps with ASCII keys; a
    ratio is carried as its counts, or as decimal text. Instants are aware datetimes, kept as ISO 8601 in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    entry_type: ClassVar[str]
    version: ClassVar[int] = 1
    evidence_type: ClassVar[EvidenceType | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "entry_type" not in cls.__dict__:
            return
        key = (cls.entry_type, cls.version)
        known = _schemas.get(key)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise TypeError(f"the ledger has a schema {key[0]} version {key[1]} already: {known.__qualname__}")
        _schemas[key] = cls


_schemas: dict[tuple[str, int], type[LedgerPayload]] = {}


def payload_schema(entry_type: str, version: int) -> type[LedgerPayload] | None:
    """Return the schema of an entry, or None when this site does not know it (an entry of a newer version)."""
    return _schemas.get((entry_type, version))


def payload_schemas() -> dict[tuple[str, int], type[LedgerPayload]]:
    """Return every schema by type and version."""
    return dict(_schemas)
