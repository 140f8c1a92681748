"""What other rooms may hold of a delivery."""

from enum import StrEnum
from typing import Any, Protocol

from delivery.domain.standard_webhooks import SignatureRefusedError, new_secret, verify


class Channel(StrEnum):
    """A way out of the site. Addresses: EMAIL a mail address, WEBHOOK an endpoint's slug, IN_APP `user:12`."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    IN_APP = "in-app"


class UnknownOutcomeRule(StrEnum):
    """What happens to a delivery whose worker died between handing it over and noting the answer."""

    RESEND = "resend"
    ATOMIC = "atomic"


UNKNOWN_OUTCOME_RULES: dict[Channel, UnknownOutcomeRule] = {
    # A second copy is cheap and carries the same identity: Message-ID for mail, webhook-id for webhooks.
    Channel.EMAIL: UnknownOutcomeRule.RESEND,
    Channel.WEBHOOK: UnknownOutcomeRule.RESEND,
    # Written in the transaction of the change that caused it: there is no unknown outcome.
    Channel.IN_APP: UnknownOutcomeRule.ATOMIC,
}

UNKNOWN_OUTCOME_WORDS: dict[UnknownOutcomeRule, str] = {
    UnknownOutcomeRule.RESEND: (
        "If a worker dies while sending, the outcome is unknown; it is sent again with the same identity, "
        "so the receiver can tell a second copy."
    ),
    UnknownOutcomeRule.ATOMIC: "Written together with its cause: it exists exactly once or not at all.",
}


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    WITHDRAWN = "withdrawn"


class AttemptOutcome(StrEnum):
    """What became of one try. STARTED is written before the outside is touched."""

    STARTED = "started"
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Actor(Protocol):
    """As much of a principal as this room needs; the rooms above define it."""

    @property
    def label(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def user_id(self) -> int | None: ...
    def may(self, capability: Any, *, team_id: int | None = None) -> bool:
        """Say whether the principal may."""


__all__ = [
    "UNKNOWN_OUTCOME_RULES",
    "UNKNOWN_OUTCOME_WORDS",
    "Actor",
    "AttemptOutcome",
    "Channel",
    "DeliveryState",
    "SignatureRefusedError",
    "UnknownOutcomeRule",
    "new_secret",
    "verify",
]
