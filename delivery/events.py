"""What delivery announces."""

from typing import ClassVar

from core.events import DomainEvent


class DeliverySettled(DomainEvent):
    """A delivery was accepted by its channel (`sent`), given up (`dead`) or withdrawn.

    Published once for each time a delivery settles, in the transaction that settles it; a redelivery that settles
    publishes again. `about` is what the sender gave: a reference such as `incident:INC-3`.
    """

    kind: ClassVar[str] = "delivery.settled"

    delivery_id: int
    idempotency_key: str
    channel: str
    address: str
    state: str
    about: str
    error: str = ""


class EndpointDisabled(DomainEvent):
    """A webhook endpoint was switched off by its receiver's answer 410, not by a person."""

    kind: ClassVar[str] = "delivery.endpoint-disabled"

    endpoint: str
    reason: str
