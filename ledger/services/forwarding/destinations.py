"""Set up, pause, move and remove destinations; each is recorded, without its secret."""

import re
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import orjson
from django.core.exceptions import PermissionDenied
from django.db import transaction

from core.clock import database_now
from core.proving import dangerous
from core.work import wake
from delivery.data import SignatureRefusedError, key_of, new_secret
from ledger.data.access import AuditedAction
from ledger.data.packs import KEEP, Reader
from ledger.models import Forwarder
from ledger.selectors import log_size
from ledger.services.forwarding.running import FORWARD_QUEUE
from ledger.services.recording import record
from ledger.services.residency import ExportRefusedError, ensure_destination

SCHEMES = {Forwarder.Kind.SYSLOG: ("tls", "tcp"), Forwarder.Kind.OTLP: ("https", "http")}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")


class ForwarderRefusedError(ValueError):
    """A destination that cannot work as it is described."""


@dataclass(frozen=True)
class ForwarderSetup:
    """A destination as somebody describes it.

    `secret` is the signing secret of a webhook (made when empty), headers for OTLP (`Name: value`, one a line), or a
    client's certificate and key in PEM for syslog. `start` is the first entry to tell; None begins with the next one.
    """

    name: str
    kind: str
    address: str
    secret: str = field(default="", repr=False)
    trust: str = ""
    allow: tuple[str, ...] = ()
    confirmation: str = Forwarder.Confirmation.CLOSE_NOTIFY.value
    alarm_after: timedelta = timedelta(minutes=15)
    start: int | None = 0
    region: str = ""
    region_reason: str = ""


@dangerous("tell the ledger to another system")
@transaction.atomic
def add_forwarder(*, principal: Reader, setup: ForwarderSetup) -> tuple[Forwarder, str]:
    """Add a destination and begin to tell it. Returns it with a signing secret that was made, to be shown once.

    Raises ForwarderRefusedError, PermissionDenied.
    """
    _ensure_keeper(principal)
    kept, made = _checked_secret(setup)
    _ensure_possible(setup)
    leaving = _placed(setup.region, setup.region_reason)
    now = database_now()
    size = log_size()
    start = size if setup.start is None else setup.start
    if not 0 <= start <= size:
        raise ForwarderRefusedError(f"the log has {size} entries; it cannot be told from {start} on")
    row = Forwarder.objects.create(
        name=setup.name,
        kind=setup.kind,
        address=setup.address,
        secret=kept,
        trust=setup.trust,
        allow=list(setup.allow),
        confirmation=setup.confirmation,
        alarm_after=setup.alarm_after,
        region=setup.region,
        region_reason=setup.region_reason.strip()[:500],
        next_seq=start,
        due_at=now,
        created_at=now,
        created_by=principal.reference,
    )
    _audit(
        principal,
        row,
        "forwarder.added",
        after={"kind": row.kind, "address": row.address, "from": str(start), **leaving},
    )
    wake(FORWARD_QUEUE)
    return row, made


@dangerous("say in which region a destination is")
@transaction.atomic
def place_forwarder(*, principal: Reader, row: Forwarder, region: str, reason: str = "") -> None:
    """Say where a destination is; it goes on at once. Raises ForwarderRefusedError for one where no data may go."""
    _ensure_keeper(principal)
    leaving = _placed(region, reason)
    Forwarder.objects.filter(pk=row.pk).update(
        region=region, region_reason=reason.strip()[:500], due_at=database_now(), circuit="closed", circuit_until=None
    )
    _audit(
        principal, row, "forwarder.placed", before={"region": row.region}, after=leaving, reason=reason.strip()[:500]
    )
    wake(FORWARD_QUEUE)


@dangerous("pause the telling of the ledger")
@transaction.atomic
def pause_forwarder(*, principal: Reader, row: Forwarder) -> None:
    """Tell it nothing until it is resumed; what happens meanwhile is told then."""
    _ensure_keeper(principal)
    if Forwarder.objects.filter(pk=row.pk, paused_at__isnull=True).update(paused_at=database_now()):
        _audit(principal, row, "forwarder.paused")


@dangerous("resume the telling of the ledger")
@transaction.atomic
def resume_forwarder(*, principal: Reader, row: Forwarder) -> None:
    """Go on from the cursor, at once, whatever the circuit says."""
    _ensure_keeper(principal)
    Forwarder.objects.filter(pk=row.pk).update(
        paused_at=None, due_at=database_now(), circuit="closed", circuit_until=None, failures_in_row=0, dead_at=None
    )
    _audit(principal, row, "forwarder.resumed")
    wake(FORWARD_QUEUE)


@dangerous("tell the ledger from another entry on")
@transaction.atomic
def rewind_forwarder(*, principal: Reader, row: Forwarder, seq: int, reason: str) -> None:
    """Tell it from another entry on: earlier to tell again, later to leave out. Raises ForwarderRefusedError."""
    _ensure_keeper(principal)
    if not reason.strip():
        raise ForwarderRefusedError("a reason is required")
    if not 0 <= seq <= log_size():
        raise ForwarderRefusedError(f"the log has {log_size()} entries; it cannot be told from {seq} on")
    # The raised fence stops a worker that is telling it now from moving the cursor back.
    locked = Forwarder.objects.select_for_update().get(pk=row.pk)
    Forwarder.objects.filter(pk=row.pk).update(
        next_seq=seq, fence=locked.fence + 1, lease_owner="", lease_until=None, due_at=database_now()
    )
    _audit(
        principal,
        row,
        "forwarder.rewound",
        before={"from": str(locked.next_seq)},
        after={"from": str(seq)},
        reason=reason.strip()[:500],
    )
    wake(FORWARD_QUEUE)


@dangerous("no longer tell the ledger to a system")
@transaction.atomic
def remove_forwarder(*, principal: Reader, row: Forwarder) -> None:
    """Forget a destination."""
    _ensure_keeper(principal)
    deleted, _ = Forwarder.objects.filter(pk=row.pk).delete()
    if deleted:
        _audit(principal, row, "forwarder.removed", before={"kind": row.kind, "address": row.address})


def _placed(region: str, reason: str) -> dict[str, str]:
    try:
        return ensure_destination(region=region, reason=reason)
    except ExportRefusedError as error:
        raise ForwarderRefusedError(str(error).rstrip(".")) from None


def _ensure_keeper(principal: Reader) -> None:
    if not principal.may(KEEP):
        raise PermissionDenied("Administrators of the site set up where the ledger is told.")


def _checked_secret(setup: ForwarderSetup) -> tuple[str, str]:
    """Return what is kept, and a secret that was made."""
    if setup.kind == Forwarder.Kind.WEBHOOK:
        secret = setup.secret or new_secret()
        try:
            key_of(secret)
        except SignatureRefusedError as error:
            raise ForwarderRefusedError(f"the signing secret does not do: {error}") from None
        return secret, "" if setup.secret else secret
    if setup.kind == Forwarder.Kind.OTLP and setup.secret:
        headers = {}
        for line in setup.secret.splitlines():
            name, colon, value = line.partition(":")
            if not colon or not HEADER.fullmatch(name.strip()) or not value.strip().isprintable():
                raise ForwarderRefusedError("headers are written as Name: value, one a line")
            headers[name.strip()] = value.strip()
        return orjson.dumps(headers).decode(), ""
    return setup.secret, ""


def _ensure_possible(setup: ForwarderSetup) -> None:
    if not NAME.fullmatch(setup.name):
        raise ForwarderRefusedError("a name has lower-case letters, digits and hyphens")
    if setup.kind not in Forwarder.Kind.values:
        raise ForwarderRefusedError(f"the kinds {', '.join(Forwarder.Kind.values)} are allowed")
    if setup.confirmation not in Forwarder.Confirmation.values:
        raise ForwarderRefusedError(f"confirmations: {', '.join(Forwarder.Confirmation.values)}")
    if Forwarder.objects.filter(name=setup.name).exists():
        raise ForwarderRefusedError(f"there is a destination {setup.name} already")
    if not timedelta(minutes=1) <= setup.alarm_after <= timedelta(days=7):
        raise ForwarderRefusedError("an alarm after one minute to seven days is allowed")
    _ensure_address(setup)
    if setup.trust:
        try:
            ssl.create_default_context(cadata=setup.trust)
        except ssl.SSLError:
            raise ForwarderRefusedError("the certificates to trust are not PEM") from None


def _ensure_address(setup: ForwarderSetup) -> None:
    try:
        parts = urlsplit(setup.address)
        port = parts.port
    except ValueError:
        raise ForwarderRefusedError(f"{setup.address} is not an address") from None
    schemes = SCHEMES.get(Forwarder.Kind(setup.kind), ("https", "http"))
    if parts.scheme not in schemes or not parts.hostname:
        raise ForwarderRefusedError(
            f"an address that begins with {' or '.join(f'{one}://' for one in schemes)} is needed"
        )
    if parts.username or parts.password:
        raise ForwarderRefusedError("a name or password does not belong into the address; use headers")
    if parts.scheme in {"tcp", "http"} and parts.hostname not in LOOPBACK:
        raise ForwarderRefusedError("without TLS, only the loopback interface is told")
    if parts.scheme == "tcp" and port is None:
        raise ForwarderRefusedError("plain TCP needs a port")


def _audit(
    principal: Reader,
    row: Forwarder,
    action: str,
    *,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
    reason: str = "",
) -> None:
    record(
        AuditedAction(action=action, target=row.name, before=before or {}, after=after or {}, reason=reason),
        actor=principal.reference,
        subject=f"forwarder:{row.name}",
    )
