"""Tell checkpoints to places outside the database: a time-stamping authority, a Git folder, mail, a webhook."""

import subprocess
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from core.http import guarded_session
from core.leases import finish
from core.proving import dangerous
from core.work import wake
from delivery.data import Channel
from delivery.services import send
from ledger.data.log import CheckpointAnchored
from ledger.data.packs import KEEP, Reader
from ledger.models import Anchor, AnchorReceipt, Checkpoint
from ledger.services.checkpoints import public_verifier_key
from ledger.services.recording import record
from ledger.services.sealing import log_origin

ANCHOR_QUEUE = "ledger.anchors"
ANCHORER = "system:ledger-anchors"


class AnchorRefusedError(ValueError):
    """An anchor that cannot work as it is described, or an answer that does not hold."""


@dangerous("add a place that is told checkpoints")
@transaction.atomic
def add_anchor(
    *,
    principal: Reader,
    name: str,
    kind: str,
    target: str,
    roots: str = "",
    allow: tuple[str, ...] = (),
    every_hours: int = 24,
) -> Anchor:
    """Add a place to tell checkpoints. Raises AnchorRefusedError."""
    if not principal.may(KEEP):
        raise PermissionDenied("Administrators of the site keep the ledger.")
    if kind not in Anchor.Kind.values or not target:
        raise AnchorRefusedError(f"the kinds {', '.join(Anchor.Kind.values)} with a target are allowed")
    if kind == Anchor.Kind.RFC3161:
        _certificates(roots)
    if kind == Anchor.Kind.GIT and not (Path(target) / ".git").exists():
        raise AnchorRefusedError(f"{target} is not a Git repository")
    if Anchor.objects.filter(name=name).exists():
        raise AnchorRefusedError(f"there is an anchor {name} already")
    return Anchor.objects.create(
        name=name,
        kind=kind,
        target=target,
        roots=roots,
        allow=list(allow),
        every_hours=every_hours,
        created_at=timezone.now(),
    )


@transaction.atomic
def anchor_checkpoint(checkpoint: Checkpoint, *, now: datetime | None = None) -> int:
    """Ask every anchor whose turn it is to take a checkpoint; returns how many."""
    moment = now or timezone.now()
    asked = 0
    for anchor in Anchor.objects.filter(disabled_at__isnull=True):
        since = moment - timedelta(hours=anchor.every_hours) + timedelta(minutes=5)
        if anchor.receipts.filter(asked_at__gt=since).exists():
            continue
        _, created = AnchorReceipt.objects.get_or_create(
            anchor=anchor, checkpoint=checkpoint, defaults={"due_at": moment, "asked_at": moment}
        )
        asked += created
    if asked:
        wake(ANCHOR_QUEUE)
    return asked


def tell_anchor(receipt: AnchorReceipt) -> None:
    """Tell one anchor one checkpoint, keep what it answers, and record it."""
    anchor, checkpoint = receipt.anchor, receipt.checkpoint
    evidence, at = b"", timezone.now()
    if anchor.kind == Anchor.Kind.RFC3161:
        evidence, at, says = _stamp(anchor, checkpoint.note.encode())
    elif anchor.kind == Anchor.Kind.GIT:
        says = _commit(Path(anchor.target), checkpoint)
    else:
        says = _send(anchor, checkpoint)
    with transaction.atomic():
        record(
            CheckpointAnchored(
                anchor=anchor.name,
                kind=anchor.kind,
                size=checkpoint.size,
                root=bytes(checkpoint.root).hex(),
                anchored_at=at,
                says=says[:300],
            ),
            actor=ANCHORER,
            subject=f"anchor:{anchor.name}",
        )
        finish(receipt, evidence=evidence, says=says[:300], anchored_at=at)


def _stamp(anchor: Anchor, message: bytes) -> tuple[bytes, datetime, str]:
    request = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256).build()
    answer = guarded_session(allow=anchor.allow).post(
        anchor.target, data=request.as_bytes(), headers={"Content-Type": "application/timestamp-query"}
    )
    answer.raise_for_status()
    try:
        response = decode_timestamp_response(answer.content)
        builder = VerifierBuilder.from_request(request)
        for certificate in _certificates(anchor.roots):
            builder = builder.add_root_certificate(certificate)
        builder.build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        raise AnchorRefusedError(f"the time stamp does not hold: {error}") from error
    at = response.tst_info.gen_time
    return answer.content, at, f"stamped at {at:%Y-%m-%d %H:%M:%S} UTC, serial {response.tst_info.serial_number}"


def stamp_holds(receipt: AnchorReceipt) -> bool:
    """Say whether a stored time stamp still vouches for its checkpoint."""
    builder = VerifierBuilder()
    for certificate in _certificates(receipt.anchor.roots):
        builder = builder.add_root_certificate(certificate)
    try:
        response = decode_timestamp_response(bytes(receipt.evidence))
        return bool(builder.build().verify_message(response, receipt.checkpoint.note.encode()))
    except (VerificationError, ValueError):
        return False


def _certificates(roots: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(roots.encode())
    except ValueError:
        raise AnchorRefusedError("a time-stamping authority needs its root certificate in PEM") from None


def _commit(folder: Path, checkpoint: Checkpoint) -> str:
    name = f"checkpoint-{checkpoint.size:012}.note"
    (folder / name).write_text(checkpoint.note, "utf-8")
    _git(folder, "add", "--", name)
    if _git(folder, "status", "--porcelain", "--", name):
        identity = ("-c", "user.name=Assay", "-c", "user.email=assay@localhost", "-c", "commit.gpgsign=false")
        _git(folder, *identity, "commit", "-q", "-m", f"Checkpoint at {checkpoint.size}", "--", name)
    return f"commit {_git(folder, 'rev-parse', 'HEAD')}"


def _git(folder: Path, *arguments: str) -> str:
    try:
        run = subprocess.run(  # noqa: S603 a fixed program on a folder that an administrator named
            ["git", "-C", str(folder), *arguments],  # noqa: S607 git is on the PATH of a site
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise AnchorRefusedError(f"git {arguments[0]} failed: {str(said).strip()[:300]}") from error
    return run.stdout.strip()


def _send(anchor: Anchor, checkpoint: Checkpoint) -> str:
    channel = Channel.EMAIL if anchor.kind == Anchor.Kind.MAIL else Channel.WEBHOOK
    key = public_verifier_key()
    delivery = send(
        channel=channel,
        address=anchor.target,
        idempotency_key=f"anchor:{anchor.pk}:{checkpoint.pk}",
        subject=f"Checkpoint of {log_origin()} at {checkpoint.size} entries",
        text=f"Keep this. It shows later whether the log was rewritten.\n\n{checkpoint.note}\nKey: {key}\n",
        payload={"type": "ledger.checkpoint", "note": checkpoint.note, "key": key}
        if channel is Channel.WEBHOOK
        else None,
        about=f"anchor:{anchor.name}",
    )
    return f"handed over as {delivery.reference}"
