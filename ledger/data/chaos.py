"""Chaos experiments."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class ChaosPlanApproved(LedgerPayload):
    """A plan was approved by somebody other than its author."""

    entry_type: ClassVar[str] = "chaos.plan_approved"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    experiment: str
    plan_sha256: str
    author: str
    approved_at: datetime
    expires_at: datetime


class GuardAnswer(BaseModel):
    """One guard's answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    guard: str
    allowed: bool
    reason: str


class ChaosRunFinished(LedgerPayload):
    """A run has ended and its faults are undone, or are known not to be (`dirty`)."""

    entry_type: ClassVar[str] = "chaos.run_finished"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    run: str
    experiment: str
    plan_sha256: str
    environment: str
    services: list[str]
    hypothesis: str
    targets: list[str]
    faults: list[str]
    verdict: str
    reason: str
    steady_before: bool | None = None
    steady_after: bool | None = None
    guards: list[GuardAnswer]
    started_at: datetime
    finished_at: datetime
    undone_at: datetime | None = None
    follow_ups: list[str] = []


class ChaosRunStarted(LedgerPayload):
    """Every guard agreed and a run was asked for: its plan, with the real targets and how each fault is undone."""

    entry_type: ClassVar[str] = "chaos.run_started"
    run: str
    experiment: str
    plan_sha256: str
    compiled_sha256: str
    environment: str
    services: list[str]
    targets: list[str]
    undo: list[str]
    budget: dict[str, str] = {}
    guards: list[GuardAnswer]


class ChaosRunRefused(LedgerPayload):
    """A guard said no and nothing was touched."""

    entry_type: ClassVar[str] = "chaos.run_refused"
    run: str
    experiment: str
    plan_sha256: str
    services: list[str]
    guards: list[GuardAnswer]


class ChaosFaultIntended(LedgerPayload):
    """A fault and what undoes it were written down; it is injected after this and not without it."""

    entry_type: ClassVar[str] = "chaos.fault_intended"
    run: str
    position: int
    action: str
    targets: list[str]
    expires_at: datetime
    agent: str = ""


class ChaosFaultSettled(LedgerPayload):
    """A fault was taken back and looked for, could not be taken back, or is one way."""

    entry_type: ClassVar[str] = "chaos.fault_settled"
    run: str
    position: int
    action: str
    targets: list[str]
    state: str
    took_effect: bool | None
    injected_at: datetime | None
    reverted_at: datetime | None
    detail: str


class KillSwitchTested(LedgerPayload):
    """The kill switch was engaged for a moment: did it block a start, and did it let a fault be undone."""

    entry_type: ClassVar[str] = "chaos.kill_switch_tested"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    passed: bool
    detail: str


class ChaosFindingRecorded(LedgerPayload):
    """A run has shown a weakness, somebody says that it is mended, or another run has shown it.

    `overdue`: nobody has tried it again by `retest_due_at`. `waived`: closed without a retest, for the `reason`.
    """

    entry_type: ClassVar[str] = "chaos.finding_recorded"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    finding: int
    experiment: str
    run: str
    kind: str
    state: str
    text: str
    mended_how: str = ""
    retest_due_at: datetime | None = None
    reason: str = ""


class GameDayStepRecord(BaseModel):
    """One step of a game day as it went."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str
    by: str
    outcome: str
    note: str
    started_at: datetime
    ended_at: datetime
    late: bool


class GameDayHeld(LedgerPayload):
    """A game day was held: who led it, how each step went, what was learned."""

    entry_type: ClassVar[str] = "chaos.game_day_held"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    session: str
    game_day: str
    led_by: str
    services: list[str]
    purpose: str
    steps: list[GameDayStepRecord]
    summary: str
    started_at: datetime
    ended_at: datetime
