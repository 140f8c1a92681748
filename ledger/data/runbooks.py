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


class FirstRunbookRunFinished(LedgerPayload):
    """A run of a runbook has ended: how it was written at first."""

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


class AttemptOutcome(BaseModel):
    """One try of a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    state: str
    idempotency_key: str
    started_at: datetime
    finished_at: datetime | None = None


class StepOutcomeInFull(StepOutcome):
    """What became of a step, with every try and agreement. `break_glass` says why nobody else was asked."""

    item: str = ""
    answer: str = ""
    tries: list[AttemptOutcome] = []
    break_glass: str = ""


class RunbookRunFinished(LedgerPayload):
    """A run of a runbook has ended. Its steps carry every try, agreement and override."""

    entry_type: ClassVar[str] = "runbook.run_finished"
    version: ClassVar[int] = 2
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RUN
    run: str
    runbook: str
    revision: str
    trigger: str
    operator: str
    incident: str = ""
    services: list[str] = []
    state: str
    reason: str = ""
    started_at: datetime
    finished_at: datetime
    steps: list[StepOutcomeInFull]


class RunbookExerciseJudged(LedgerPayload):
    """Whether a runbook of a tier-1 service was exercised within the days that are allowed."""

    entry_type: ClassVar[str] = "runbook.exercise_judged"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RUN
    runbook: str
    services: list[str]
    last_exercised_at: datetime | None = None
    allowed_days: int
    overdue: bool
