"""Files that entries refer to, kept by their SHA-256."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from core.identifiers import new_id
from ledger.models import Artifact
from ledger.services.residency import ensure_store_stays

MAX_BYTES = 256 * 1024 * 1024


def store_artifact(content: bytes, *, media_type: str, name: str) -> str:
    """Keep a file and return its SHA-256 in hex. The same content is kept once.

    Raises ValueError for a file that is too large, ExportRefusedError where the store is out of the data's residency.
    """
    ensure_store_stays()
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name} has {len(content)} bytes; at most {MAX_BYTES} are allowed")
    digest = hashlib.sha256(content).hexdigest()
    path = artifact_path(digest)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{new_id('draft')}")
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    Artifact.objects.get_or_create(
        sha256=digest,
        defaults={
            "name": name[:255],
            "media_type": media_type,
            "size": len(content),
            "stored_at": timezone.now(),
            "region": settings.ARTIFACT_REGION or settings.REGION,
        },
    )
    return digest


def store_artifact_file(path: Path, *, media_type: str, name: str) -> str:
    """Take a file of any size into the store, without reading it whole, and return its SHA-256. The file is moved.

    Raises ExportRefusedError where the store lies out of the residency of the site's data.
    """
    ensure_store_stays()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = artifact_path(digest)
    size = path.stat().st_size
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{new_id('draft')}")
    shutil.move(path, draft)
    draft.replace(target)
    Artifact.objects.get_or_create(
        sha256=digest,
        defaults={
            "name": name[:255],
            "media_type": media_type,
            "size": size,
            "stored_at": timezone.now(),
            "region": settings.ARTIFACT_REGION or settings.REGION,
        },
    )
    return digest


def scratch_folder() -> Path:
    """Return a folder on the store's own disk, where large files are made before they are moved into it."""
    folder = artifact_path("00").parent.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def artifact_path(sha256: str) -> Path:
    """Return where an artifact's file is kept."""
    parts = urlsplit(settings.ARTIFACT_STORE_URL)
    if parts.scheme != "file":
        raise ImproperlyConfigured(f"ARTIFACT_STORE_URL starts with {parts.scheme!r}; allowed is file:///folder.")
    return Path(unquote(parts.path)) / sha256[:2] / sha256


def remove_artifacts(digests: Sequence[str]) -> int:
    """Remove files whose time is over; returns how many went. The caller records it.

    The record of a file goes first: a file without one is not looked for, one that is recorded must be there.
    """
    removed, _ = Artifact.objects.filter(sha256__in=digests).delete()

    def unlink() -> None:
        again = set(Artifact.objects.filter(sha256__in=digests).values_list("sha256", flat=True))
        for digest in set(digests) - again:
            artifact_path(digest).unlink(missing_ok=True)

    transaction.on_commit(unlink)
    return removed


def read_artifact(sha256: str) -> bytes | None:
    """Return an artifact's content, or None when the file is gone. The caller checks the hash."""
    try:
        return artifact_path(sha256).read_bytes()
    except FileNotFoundError:
        return None
