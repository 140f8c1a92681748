"""What happens in an audit."""

from typing import ClassVar

from ledger.data.base import LedgerPayload


class SampleDrawn(LedgerPayload):
    """A sample was drawn from a frozen population: HMAC-SHA256 of the seed over each item gives the order."""

    entry_type: ClassVar[str] = "audit.sample_drawn"
    engagement: str
    population: str
    population_sha256: str
    population_count: int
    seed: str
    items: list[int]


class RequestChanged(LedgerPayload):
    """A request of an auditor changed its state."""

    entry_type: ClassVar[str] = "audit.request_changed"
    engagement: str
    request: str
    title: str
    state: str
    reason: str
    evidence: str = ""


class FindingChanged(LedgerPayload):
    """A finding was raised, answered or closed."""

    entry_type: ClassVar[str] = "audit.finding_changed"
    engagement: str
    finding: str
    title: str
    severity: str
    control: str
    state: str
    text: str
