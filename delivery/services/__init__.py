"""Changes: put something into the outbox, deliver it, look after endpoints and notifications."""

from delivery.services.endpoints import (
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    rotate_endpoint_secret,
    save_endpoint,
)
from delivery.services.notifications import mark_all_read, mark_read
from delivery.services.outbox import redeliver, send, withdraw_older_than, withdraw_pending
from delivery.services.sending import deliver

__all__ = [
    "create_endpoint",
    "deliver",
    "disable_endpoint",
    "enable_endpoint",
    "mark_all_read",
    "mark_read",
    "redeliver",
    "rotate_endpoint_secret",
    "save_endpoint",
    "send",
    "withdraw_older_than",
    "withdraw_pending",
]
