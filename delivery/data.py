"""What other rooms may hold of a delivery."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from delivery.domain.breaker import Breaker, Circuit
from delivery.domain.standard_webhooks import SignatureRefusedError, key_of, new_secret, signature_header, verify


class Channel(StrEnum):
    """A way out of the site.

    Addresses: EMAIL a mail address, WEBHOOK an endpoint's slug, IN_APP `user:12`; of the others a connector's name, for
    SLACK, SMS and VOICE with a target: `ops/C0123`, `phone/+4930123456`.
    """

    EMAIL = "email"
    WEBHOOK = "webhook"
    IN_APP = "in-app"
    SLACK = "slack"
    TEAMS = "teams"
    SMS = "sms"
    VOICE = "voice"
    APPRISE = "apprise"


@dataclass(frozen=True)
class Outgoing:
    """A message for the outbox: what `delivery.services.send` takes."""

    channel: Channel
    address: str
    idempotency_key: str
    subject: str
    text: str
    payload: dict[str, Any] | None = None
    link: str = ""
    priority: int = 5
    about: str = ""
    delay: timedelta = timedelta(0)
    order_key: str = ""


class UnknownOutcomeRule(StrEnum):
    """What happens to a delivery whose worker died between handing it over and noting the answer."""

    RESEND = "resend"
    CHECK = "check"
    SKIP = "skip"
    ATOMIC = "atomic"


UNKNOWN_OUTCOME_RULES: dict[Channel, UnknownOutcomeRule] = {
    # A second copy is cheap and carries the same identity: Message-ID for mail, webhook-id for webhooks.
    Channel.EMAIL: UnknownOutcomeRule.RESEND,
    Channel.WEBHOOK: UnknownOutcomeRule.RESEND,
    Channel.SLACK: UnknownOutcomeRule.RESEND,
    Channel.TEAMS: UnknownOutcomeRule.RESEND,
    Channel.APPRISE: UnknownOutcomeRule.RESEND,
    # The provider keeps what it sent, and each text carries the delivery's reference, so it can be asked.
    Channel.SMS: UnknownOutcomeRule.CHECK,
    # A call cannot be told from another one afterwards; a second call to somebody on the phone does harm.
    Channel.VOICE: UnknownOutcomeRule.SKIP,
    # Written in the transaction of the change that caused it: there is no unknown outcome.
    Channel.IN_APP: UnknownOutcomeRule.ATOMIC,
}

UNKNOWN_OUTCOME_WORDS: dict[UnknownOutcomeRule, str] = {
    UnknownOutcomeRule.RESEND: (
        "If a worker dies while sending, the outcome is unknown; it is sent again with the same identity, "
        "so the receiver can tell a second copy."
    ),
    UnknownOutcomeRule.CHECK: (
        "If a worker dies while sending, the provider is asked whether it has the message; if not, it is sent again."
    ),
    UnknownOutcomeRule.SKIP: (
        "If a worker dies while calling, nobody is called again: the page counts as failed and the escalation goes on."
    ),
    UnknownOutcomeRule.ATOMIC: "Written together with its cause: it exists exactly once or not at all.",
}


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    WITHDRAWN = "withdrawn"


class ConnectorKind(StrEnum):
    """A service that carries messages."""

    SLACK = "slack"
    TEAMS = "teams"
    TWILIO = "twilio"
    APPRISE = "apprise"


CHANNELS_OF: dict[ConnectorKind, tuple[Channel, ...]] = {
    ConnectorKind.SLACK: (Channel.SLACK,),
    ConnectorKind.TEAMS: (Channel.TEAMS,),
    ConnectorKind.TWILIO: (Channel.SMS, Channel.VOICE),
    ConnectorKind.APPRISE: (Channel.APPRISE,),
}


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
    "CHANNELS_OF",
    "UNKNOWN_OUTCOME_RULES",
    "UNKNOWN_OUTCOME_WORDS",
    "Actor",
    "AttemptOutcome",
    "Breaker",
    "Channel",
    "Circuit",
    "ConnectorKind",
    "DeliveryState",
    "Outgoing",
    "SignatureRefusedError",
    "UnknownOutcomeRule",
    "key_of",
    "new_secret",
    "signature_header",
    "verify",
]
