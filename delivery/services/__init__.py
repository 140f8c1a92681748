"""Changes: put something into the outbox, deliver it, look after endpoints and notifications."""

from delivery.services.connectors import connector_signing, save_connector, twilio_signature_fits
from delivery.services.endpoints import (
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    rotate_endpoint_secret,
    save_endpoint,
)
from delivery.services.notifications import mark_all_read, mark_read
from delivery.services.outbox import redeliver, send, send_many, withdraw_older_than, withdraw_pending
from delivery.services.outside import remove_outside_watch, save_outside_watch, tell_outside
from delivery.services.sending import deliver

__all__ = [
    "connector_signing",
    "create_endpoint",
    "deliver",
    "disable_endpoint",
    "enable_endpoint",
    "mark_all_read",
    "mark_read",
    "redeliver",
    "remove_outside_watch",
    "rotate_endpoint_secret",
    "save_connector",
    "save_endpoint",
    "save_outside_watch",
    "send",
    "send_many",
    "tell_outside",
    "twilio_signature_fits",
    "withdraw_older_than",
    "withdraw_pending",
]
