"""Policies and who has acknowledged them."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import LedgerPayload


class PolicyApproved(LedgerPayload):
    """A version of a policy is in force, approved by somebody other than its author."""

    entry_type: ClassVar[str] = "policy.approved"
    policy: str
    policy_version: int
    title: str
    owner: str
    author: str
    approved_by: str
    document_sha256: str
    review_on: str


class PolicyAcknowledged(LedgerPayload):
    """A person has read a version of a policy."""

    entry_type: ClassVar[str] = "policy.acknowledged"
    policy: str
    policy_version: int
    person: str


class PolicyCampaignClosed(LedgerPayload):
    """The time to acknowledge a version is over, or everybody has."""

    entry_type: ClassVar[str] = "policy.campaign_closed"
    policy: str
    policy_version: int
    people: int
    acknowledged: int
    outstanding: list[str]
    due_at: datetime
