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


class ExclusionChanged(LedgerPayload):
    """Time was asked not to count, or that was decided, withdrawn or replaced; counts themselves never change."""

    entry_type: ClassVar[str] = "slo.exclusion_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.SLO
    exclusion: str
    slo: str
    service: str
    state: str
    starts_at: datetime
    ends_at: datetime
    recurrence: str
    zone: str
    reason: str
    requested_by: str
    decided_by: str
    replaces: str


class BudgetPolicyDeclared(LedgerPayload):
    """An error-budget policy took effect; without states it was dropped."""

    entry_type: ClassVar[str] = "slo.budget_policy_declared"
    policy: str
    states: list[str]


class BudgetPolicyStateChanged(LedgerPayload):
    """An SLO's budget moved to another state of its error-budget policy."""

    entry_type: ClassVar[str] = "slo.budget_policy_state_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.SLO
    slo: str
    service: str
    policy: str
    before: str
    state: str


class GateOverrideChanged(LedgerPayload):
    """Somebody let an action on a service pass for a while whatever its budgets say, or ended that."""

    entry_type: ClassVar[str] = "slo.gate_override_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHG
    override: str
    service: str
    action: str
    reason: str
    change: str
    expires_at: datetime


class ServiceLevelReported(LedgerPayload):
    """A service's month or quarter has ended: what it kept of its promises, with the report's files as artifacts."""

    entry_type: ClassVar[str] = "slo.service_level_reported"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.SLO
    service: str
    report_period: str
    objectives: list[dict[str, str | int]]
    incidents: int
