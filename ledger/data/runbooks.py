"""Runbooks and their runs."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class RunbookPublished(LedgerPayload):
    """A revision of a runbook is in force."""

    entry_type: ClassVar[str] = "runbook.published"
    runbook: str
    revision: str
    owner: str
    review_by: str = ""


class StepOutcome(BaseModel):
    """What became of a step; `approved_by` is empty where no approval was needed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    step: str
    kind: str
    state: str
    attempts: int
    risk: str = ""
    performed_by: str = ""
    approved_by: str = ""


class RunbookRunFinished(LedgerPayload):
    """A run of a runbook has ended."""

    entry_type: ClassVar[str] = "runbook.run_finished"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RUN
    run: str
    runbook: str
    revision: str
    trigger: str
    operator: str
    incident: str = ""
    state: str
    started_at: datetime
    finished_at: datetime
    steps: list[StepOutcome]
