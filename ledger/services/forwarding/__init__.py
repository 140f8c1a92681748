"""Tell every entry of the log to destinations outside: at least once, in order, from a cursor for each."""

from ledger.services.forwarding.destinations import (
    ForwarderRefusedError,
    ForwarderSetup,
    add_forwarder,
    pause_forwarder,
    place_forwarder,
    remove_forwarder,
    resume_forwarder,
    rewind_forwarder,
)
from ledger.services.forwarding.running import FORWARD_QUEUE, forward, nudge_forwarders

__all__ = [
    "FORWARD_QUEUE",
    "ForwarderRefusedError",
    "ForwarderSetup",
    "add_forwarder",
    "forward",
    "nudge_forwarders",
    "pause_forwarder",
    "place_forwarder",
    "remove_forwarder",
    "resume_forwarder",
    "rewind_forwarder",
]
