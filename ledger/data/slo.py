"""Service levels: what was promised, and what a window measured."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class SloDeclared(LedgerPayload):
    """A definition of an SLO took effect; from here on this is what should be kept."""

    entry_type: ClassVar[str] = "slo.declared"
    slo: str
    service: str
    definition_version: int
    definition_sha256: str
    target: str
    window_seconds: int
    budgeting_method: str


class SloRetired(LedgerPayload):
    """An SLO is no longer promised; what was counted for it stays."""

    entry_type: ClassVar[str] = "slo.retired"
    slo: str
    service: str
    definition_version: int


class DataSourceDeclared(LedgerPayload):
    """A metric store was connected or changed. `host_allowed`: its host may be reached although it is not public."""

    entry_type: ClassVar[str] = "slo.data_source_declared"
    source: str
    host: str
    host_allowed: bool
    removed: bool = False


class SloWindowReported(LedgerPayload):
    """The events of a window as counted. `unknown_events` are neither good nor bad; coverage is of its minutes."""

    entry_type: ClassVar[str] = "slo.window_reported"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.SLO
    slo: str
    service: str
    definition_version: int
    target: str
    window_start: datetime
    window_end: datetime
    good_events: int
    bad_events: int
    unknown_events: int
    minutes_measured: int
    minutes_in_window: int
    error_budget_remaining_ratio: str
    reason: str


class BurnAlertChanged(LedgerPayload):
    """A burn-rate alert fired or resolved, with the burn rates that decided it (decimal text)."""

    entry_type: ClassVar[str] = "slo.burn_alert_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.SLO
    slo: str
    service: str
    policy: str
    severity: str
    state: str
    alert_key: str
    long_window_seconds: int
    short_window_seconds: int
    burn_rate_long: str
    burn_rate_short: str
    threshold: str
