"""Access: reviews of rights, and every change that somebody makes."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class AuditedAction(LedgerPayload):
    """Somebody changed something, or tried to sign in. `before` and `after` hold no secrets."""

    entry_type: ClassVar[str] = "audit.action"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    action: str
    target: str
    outcome: str = "done"
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    reason: str = ""
    address: str = ""


class AccessReviewed(LedgerPayload):
    """A review of who has access to a system has ended."""

    entry_type: ClassVar[str] = "access.reviewed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.ACR
    campaign: str
    system: str
    accounts_in_source: int
    accounts_reviewed: int
    kept: int
    revoked: int
    revocations_done: int
    reviewer: str
    self_reviewed: int
    finished_at: datetime


class SignedIn(LedgerPayload):
    """Somebody has signed in: by which way, and with which second factor."""

    entry_type: ClassVar[str] = "access.signed_in"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    target: str
    method: str
    second_factor: str = ""
    address: str = ""
    break_glass: bool = False


class SignInLockedOut(LedgerPayload):
    """Too many sign-ins failed in a while: a name or an address is locked out, or an administrator lifted that."""

    entry_type: ClassVar[str] = "access.locked_out"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    target: str
    address: str
    failures: int
    within_seconds: int
    locked: str


class FactorChanged(LedgerPayload):
    """A second factor was added, removed or made anew."""

    entry_type: ClassVar[str] = "access.factor_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    target: str
    change: str
    factor: str


class SignInRulesChanged(LedgerPayload):
    """The rules of signing in were changed: required factors, lengths of sessions, local passwords."""

    entry_type: ClassVar[str] = "access.rules_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    before: dict[str, str] = {}
    after: dict[str, str] = {}


class ProviderChanged(LedgerPayload):
    """A provider of identities or what its groups mean was changed. No secrets."""

    entry_type: ClassVar[str] = "access.provider_changed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    provider: str
    kind: str
    change: str
    before: dict[str, str] = {}
    after: dict[str, str] = {}


class RightsFollowedGroups(LedgerPayload):
    """What a provider told of somebody's groups changed their rights, or would have and was refused."""

    entry_type: ClassVar[str] = "access.followed_groups"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    target: str
    provider: str
    given: list[str] = []
    taken: list[str] = []
    refused: list[str] = []


class PersonProvisioned(LedgerPayload):
    """A directory has created, changed, closed or reopened somebody's account."""

    entry_type: ClassVar[str] = "access.provisioned"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    target: str
    provider: str
    change: str
    fields: list[str] = []
