"""One turn of a forwarder: tell batch after batch from its cursor on, and commit the cursor after each.

A worker that is killed between telling and committing leaves the cursor where it was: that batch is told again, and its
entries carry the same numbers. The fence keeps a worker that lost its lease from moving the cursor.
"""

import logging
import time
from datetime import timedelta
from typing import Any

import requests
from django.db import transaction
from django.db.models import F

from core.clock import database_now
from core.events import publish
from core.fields import SecretUnreadableError
from core.leases import StaleFenceError, settle
from core.work import wake
from delivery.data import Breaker, Circuit
from ledger.data.access import AuditedAction
from ledger.events import ForwarderCaughtUp, ForwarderFellBehind
from ledger.models import Forwarder, Seal
from ledger.selectors import log_size
from ledger.services.forwarding.documents import next_batch
from ledger.services.forwarding.senders import NotConfirmedError, tell
from ledger.services.recording import record
from ledger.services.residency import ensure_destination
from ledger.services.sealing import log_origin

logger = logging.getLogger(__name__)

FORWARD_QUEUE = "ledger.forward"
FORWARDER = "system:log-forwarding"
LEASE = timedelta(seconds=90)
TURN_SECONDS = 20.0
# Without news a forwarder looks by itself this often; sealing wakes it earlier.
IDLE = timedelta(seconds=60)
FIRST_RETRIES = (1, 2, 5, 10, 30)


def nudge_forwarders() -> None:
    """Make forwarders that have caught up due at once: entries were sealed."""
    now = database_now()
    idle = Forwarder.objects.filter(paused_at__isnull=True, failures_in_row=0, due_at__gt=now)
    if idle.update(due_at=now):
        wake(FORWARD_QUEUE)


def forward(row: Forwarder) -> None:
    """Tell what is new, until all is told or the turn is over."""
    origin = log_origin()
    end = time.monotonic() + TURN_SECONDS
    while time.monotonic() < end:
        batch = next_batch(row.next_seq, origin=origin)
        if not batch:
            break
        try:
            # Asked with each batch: where this site must stay can change after a destination was added.
            ensure_destination(region=row.region, reason=row.region_reason)
            refused = tell(row, batch, origin=origin)
        except (OSError, requests.RequestException, NotConfirmedError, SecretUnreadableError, ValueError) as error:
            _failed(row, error)
            return
        _advance(row, seq=batch[-1].seq + 1, count=len(batch), refused=refused)
    _rest(row)


def _advance(row: Forwarder, *, seq: int, count: int, refused: int) -> None:
    now = database_now()
    changes: dict[str, Any] = {
        "next_seq": seq,
        "last_told_at": now,
        "lease_until": now + LEASE,
        "circuit": Circuit.CLOSED.value,
        "circuit_until": None,
        "failures_in_row": 0,
        "last_error": f"{refused} entries were refused" if refused else "",
    }
    moved = Forwarder.objects.filter(pk=row.pk, fence=row.fence, next_seq=row.next_seq).update(
        **changes, told=F("told") + count, refused=F("refused") + refused
    )
    if not moved:
        raise StaleFenceError(f"{row.name}: another worker tells this destination, or its cursor was moved")
    for name, value in changes.items():
        setattr(row, name, value)


def _rest(row: Forwarder) -> None:
    now = database_now()
    behind = row.next_seq < log_size()
    with transaction.atomic():
        settle(row, due_at=now if behind else now + IDLE, attempts=0)
        if not behind and row.alarmed_at is not None:
            _all_clear(row)
    # Sealed between the last look and the settling: the nudge came too early to be kept.
    if not behind and row.next_seq < log_size():
        Forwarder.objects.filter(pk=row.pk).update(due_at=now)


def _failed(row: Forwarder, error: Exception) -> None:
    now = database_now()
    breaker = Breaker(Circuit(row.circuit), row.failures_in_row, row.circuit_until).after_failure(now)
    wait = timedelta(seconds=FIRST_RETRIES[min(breaker.failures_in_row, len(FIRST_RETRIES)) - 1])
    text = f"{type(error).__name__}: {error}"[:1000]
    logger.warning("%s was not told from entry %d on: %s", row.name, row.next_seq, text)
    with transaction.atomic():
        settle(
            row,
            due_at=breaker.until or now + wait,
            attempts=0,
            last_error=text,
            circuit=breaker.circuit.value,
            circuit_until=breaker.until,
            failures_in_row=breaker.failures_in_row,
        )
        oldest = Seal.objects.filter(seq=row.next_seq).values_list("sealed_at", flat=True).first()
        if row.alarmed_at is None and oldest is not None and now - oldest > row.alarm_after:
            _alarm(row, oldest=oldest, error=text)


def _alarm(row: Forwarder, *, oldest: Any, error: str) -> None:
    Forwarder.objects.filter(pk=row.pk).update(alarmed_at=database_now())
    waiting = log_size() - row.next_seq
    record(
        AuditedAction(
            action="forwarder.fell_behind", target=row.name, after={"from": str(row.next_seq), "waiting": str(waiting)}
        ),
        actor=FORWARDER,
        subject=f"forwarder:{row.name}",
    )
    publish(ForwarderFellBehind(forwarder=row.name, waiting=waiting, oldest_at=oldest, error=error))


def _all_clear(row: Forwarder) -> None:
    Forwarder.objects.filter(pk=row.pk).update(alarmed_at=None)
    record(
        AuditedAction(action="forwarder.caught_up", target=row.name, after={"up_to": str(row.next_seq)}),
        actor=FORWARDER,
        subject=f"forwarder:{row.name}",
    )
    publish(ForwarderCaughtUp(forwarder=row.name))
