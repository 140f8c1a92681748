"""What the ledger announces."""

from datetime import datetime
from typing import ClassVar

from core.events import DomainEvent


class ForwarderFellBehind(DomainEvent):
    """A destination of the log is further behind than it may be; published once until it has caught up."""

    kind: ClassVar[str] = "ledger.forwarder-behind"

    forwarder: str
    waiting: int
    oldest_at: datetime
    error: str


class ForwarderCaughtUp(DomainEvent):
    """A destination that was behind has everything again."""

    kind: ClassVar[str] = "ledger.forwarder-caught-up"

    forwarder: str
