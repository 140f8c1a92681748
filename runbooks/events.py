"""What runbooks announce."""

from datetime import datetime
from typing import ClassVar

from core.events import DomainEvent


class RunStarted(DomainEvent):
    """A run was started."""

    kind: ClassVar[str] = "runbook.run_started"
    run_reference: str
    runbook: str
    incident_reference: str


class StepFinished(DomainEvent):
    """A step has ended, well or not."""

    kind: ClassVar[str] = "runbook.step_finished"
    run_reference: str
    step: str
    state: str
    detail: str
    incident_reference: str


class ApprovalRequested(DomainEvent):
    """A run waits for somebody else than its operator to agree."""

    kind: ClassVar[str] = "runbook.approval_requested"
    run_reference: str
    step: str
    incident_reference: str
    expires_at: datetime


class RunFinished(DomainEvent):
    """A run has ended."""

    kind: ClassVar[str] = "runbook.run_finished"
    run_reference: str
    runbook: str
    state: str
    incident_reference: str


class RunNoted(DomainEvent):
    """People did something with a run: paused it, took it over, handed it over, called the owner, broke the glass."""

    kind: ClassVar[str] = "runbook.run_noted"
    run_reference: str
    runbook: str
    note_id: int
    text: str
    by: str
    incident_reference: str
    break_glass: bool = False
