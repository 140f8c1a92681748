"""Read marks of in-app notifications."""

from core.clock import database_now
from delivery.models import Notification


def mark_read(*, recipient: str, notification_id: int) -> bool:
    """Mark one of the recipient's notifications as read; False when it was, or is not theirs."""
    return bool(
        Notification.objects.filter(pk=notification_id, recipient=recipient, read_at=None).update(
            read_at=database_now()
        )
    )


def mark_all_read(*, recipient: str) -> int:
    """Mark all of the recipient's notifications as read."""
    return Notification.objects.filter(recipient=recipient, read_at=None).update(read_at=database_now())
