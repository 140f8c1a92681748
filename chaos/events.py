"""What chaos announces."""

from typing import ClassVar

from core.events import DomainEvent


class ChaosRunEnded(DomainEvent):
    """A run has ended; its faults are undone, or the verdict says that they are not."""

    kind: ClassVar[str] = "chaos.run_ended"
    reference: str
    experiment: str
    verdict: str
    reason: str


class ChaosFindingOpened(DomainEvent):
    """A run has shown a weakness or a slower recovery; again each time that it is shown."""

    kind: ClassVar[str] = "chaos.finding_opened"
    experiment: str
    run: str
    finding_kind: str
    text: str
