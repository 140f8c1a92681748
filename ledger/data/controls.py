"""Controls: what should exist and happen, and what tests of it found."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class ControlDeclared(LedgerPayload):
    """A version of a control took effect: from here on its occurrences are due."""

    entry_type: ClassVar[str] = "control.declared"
    control: str
    control_version: int
    objective: str
    owner: str
    frequency: str
    requirements: list[str]
    checks: list[str]


class ControlRetired(LedgerPayload):
    """A control no longer applies."""

    entry_type: ClassVar[str] = "control.retired"
    control: str
    reason: str


class FrameworkLoaded(LedgerPayload):
    """A version of a framework's list of requirements took effect."""

    entry_type: ClassVar[str] = "framework.loaded"
    framework: str
    framework_version: int
    edition: str
    content_sha256: str
    requirements: int
    added: int
    retired: list[str]


class PopulationSnapshot(LedgerPayload):
    """What existed on a day, so that samples and 'nothing happened' have something to be measured against."""

    entry_type: ClassVar[str] = "population.snapshot"
    population: str
    query: str
    taken_at: datetime
    count: int
    items_sha256: str


class ControlTested(LedgerPayload):
    """A check of a control ran for one scheduled occurrence."""

    entry_type: ClassVar[str] = "control.tested"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CTL
    control: str
    control_version: int
    check: str
    check_version: int
    occurrence: str
    result: str
    population: int
    passed: int
    exceptions: int
    reason: str
    entries: list[int] = []


class AbsenceAttested(LedgerPayload):
    """Nothing of a kind happened in a month, said by the site, which saw its collector work all through it.

    `signs_of_life` counts entries that show that recording worked, `longest_silence_seconds` the longest time between
    them, and `canary` is the number of one of them in the log.
    """

    entry_type: ClassVar[str] = "control.absence_attested"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CTL
    control: str
    check: str
    check_version: int
    window_start: datetime
    window_end: datetime
    population: list[str]
    signs_of_life: int
    longest_silence_seconds: int
    canary: int
