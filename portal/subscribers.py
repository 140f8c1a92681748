"""What the administrators are told of the site itself."""

from accounts.data import Capability
from accounts.selectors import users_with
from core.clock import database_now
from core.events import subscribe
from delivery.data import Channel
from delivery.services import send
from ledger.events import ForwarderCaughtUp, ForwarderFellBehind


def _tell(*, key: str, subject: str, text: str, link: str) -> None:
    for user in users_with(Capability.SITE_ADMIN):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"{key}:{user.pk}"[:255],
            subject=subject,
            text=text,
            link=link,
        )
        if user.email:
            send(
                channel=Channel.EMAIL,
                address=user.email,
                idempotency_key=f"{key}:{user.pk}:mail"[:255],
                subject=subject,
                text=text,
                link=link,
            )


@subscribe(ForwarderFellBehind)
def alarm_on_a_forwarder_behind(event: ForwarderFellBehind) -> None:
    """Tell the administrators that a destination does not get the log any more."""
    _tell(
        key=f"forwarder-behind:{event.forwarder}:{event.oldest_at.isoformat()}",
        subject=f"{event.forwarder} is behind: {event.waiting} entries wait",
        text=f"The oldest waits since {event.oldest_at:%Y-%m-%d %H:%M} UTC. {event.error}",
        link=f"/settings/forwarding/{event.forwarder}/",
    )


@subscribe(ForwarderCaughtUp)
def all_clear_for_a_forwarder(event: ForwarderCaughtUp) -> None:
    """Tell the administrators that the destination has everything again."""
    for user in users_with(Capability.SITE_ADMIN):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"forwarder-caught-up:{event.forwarder}:{user.pk}:{_hour()}"[:255],
            subject=f"{event.forwarder} has caught up",
            text="It has every entry of the log again.",
            link=f"/settings/forwarding/{event.forwarder}/",
        )


def _hour() -> str:
    return database_now().strftime("%Y-%m-%dT%H")
