"""Recovery tests, and the site's own backups, restores and release."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload
from ledger.data.chaos import GuardAnswer


class RecoveryTestFinished(LedgerPayload):
    """A recovery test has ended: what was promised and what was measured, in milliseconds.

    `resolution_milliseconds` is the error bar of the measurement; None means that it was not measured. `measurements`
    are the parts of the recovery time by name. `data_differences` are the first few; their count is whole. `regression`
    says in words that recovery took longer than usual.
    """

    entry_type: ClassVar[str] = "recovery.test_finished"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.DRT
    test: str
    run: str = ""
    kind: str
    service: str
    scope: str
    definition_sha256: str = ""
    rto_milliseconds: int | None = None
    rpo_milliseconds: int | None = None
    recovery_time_actual_milliseconds: int | None = None
    first_success_milliseconds: int | None = None
    recovery_point_actual_milliseconds: int | None = None
    resolution_milliseconds: int | None = None
    acknowledged_rows: int | None = None
    lost_rows: int | None = None
    ambiguous_rows: int | None = None
    parts_milliseconds: dict[str, int] = {}
    data_check: str
    data_check_passed: bool | None
    data_differences: list[str] = []
    security_check: str = ""
    security_check_passed: bool | None = None
    clean_up: str = ""
    decisions: list[str] = []
    outcome: str
    reason: str = ""
    regression: str = ""
    witness: str
    started_at: datetime
    finished_at: datetime


class RecoveryTestStarted(LedgerPayload):
    """A recovery test was asked for and every guard agreed: the answers, and the definition that is carried out."""

    entry_type: ClassVar[str] = "recovery.test_started"
    test: str
    run: str
    kind: str
    service: str
    definition_sha256: str
    guards: list[GuardAnswer]
    requested_at: datetime


class RecoveryTestDeclared(LedgerPayload):
    """A recovery test should exist from now on, with this definition and this calendar."""

    entry_type: ClassVar[str] = "recovery.test_declared"
    test: str
    kind: str
    service: str
    definition_sha256: str
    schedule: str
    declared_at: datetime


class BackupMade(LedgerPayload):
    """A backup of the whole site was written: what it holds, and where the log stood."""

    entry_type: ClassVar[str] = "recovery.backup_made"
    backup: str
    assay_version: str
    engine: str
    sha256: str
    size_bytes: int
    tables: int
    rows: int
    artifacts: int
    artifacts_missing: int
    ledger_size: int
    checkpoint_size: int
    checkpoint_root: str
    made_at: datetime


class SiteRestored(LedgerPayload):
    """The site was restored from a backup; the log continues from the checkpoint named here.

    Checkpoints of the original beyond `ledger_size` belong to a history that ended with the original.
    """

    entry_type: ClassVar[str] = "recovery.site_restored"
    backup: str
    backup_version: str
    backup_sha256: str
    made_at: datetime
    restored_by_version: str
    engine: str
    rows: int
    artifacts: int
    continues_from_size: int
    continues_from_checkpoint_size: int
    continues_from_root: str
    continues_from_note: str
    replaced_a_site: bool


class SiteReleased(LedgerPayload):
    """A person has looked at a restored site and lets it act again."""

    entry_type: ClassVar[str] = "recovery.site_released"
    backup: str
    held_at: datetime
    note: str
    withdrawn_deliveries: int


class SiteKeysRotated(LedgerPayload):
    """Stored secrets were put under the key in use; `unreadable` ones are under a key that nobody gave."""

    entry_type: ClassVar[str] = "recovery.keys_rotated"
    fields: int
    stored: int
    rewritten: int
    unreadable: int


class SiteUpgraded(LedgerPayload):
    """The database was brought to a release."""

    entry_type: ClassVar[str] = "recovery.site_upgraded"
    from_version: str
    to_version: str
    migrations: tuple[str, ...]
    left_for_later: tuple[str, ...]
    backup: str
