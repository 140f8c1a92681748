"""Make a backup of the whole site: database, artifacts, files and keys, in one encrypted file."""

import hashlib
import hmac
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db.migrations.loader import MigrationLoader

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.context import site_version
from core.identifiers import new_id
from drivers.domain.site_encryption import (
    BackupKey,
    BackupUnreadableError,
    DecryptingReader,
    EncryptingWriter,
    key_from_text,
    new_key_text,
)
from drivers.domain.site_manifest import Manifest, MemberFacts
from drivers.services.site_database import SiteError, engine_name, write_snapshot
from ledger.data.access import AuditedAction
from ledger.data.recovery import BackupMade
from ledger.services import (
    ExportRefusedError,
    NothingSealedError,
    ensure_may_leave,
    log_origin,
    make_checkpoint,
    record,
)
from ledger.services.artifacts import artifact_path

MANIFEST = "manifest.json"
DATABASE = "database"
LEDGER_KEY = "keys/ledger_key"
SECRET_KEY = "keys/secret_key"  # noqa: S105 a file's name
PREVIOUS_KEYS = "keys/secret_key_previous"
COPY_BYTES = 1024 * 1024

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BackupReport:
    """A backup that was made or read."""

    path: Path
    size: int
    sha256: str
    manifest: Manifest


def back_up(
    *,
    principal: Principal,
    target: Path,
    key: BackupKey,
    progress: Progress = lambda *_: None,
    region: str = "",
    reason: str = "",
) -> BackupReport:
    """Write a backup to a file that is not there yet, and record it. Raises SiteError.

    `region` is where the file is kept; none is named for one that stays. Out of the residency only with a reason.

    The file takes its name only once it is whole: whatever kills this leaves no file that looks like a backup.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    try:
        leaving = ensure_may_leave(region=region, reason=reason)
    except ExportRefusedError as error:
        raise SiteError(f"{error} Nothing was written.") from None
    target = target.absolute()
    if target.exists():
        raise SiteError(f"{target} exists already; choose another name. Nothing was written.")
    if not target.parent.is_dir():
        raise SiteError(f"The folder {target.parent} does not exist. Nothing was written.")
    _sweep(target.parent, ".assay-backup-")
    with working_folder("backup") as work:
        with suppress(NothingSealedError):
            make_checkpoint()
        progress("database", 0, 1)
        manifest, sources = _collect(work)
        draft = target.parent / f".assay-backup-{os.getpid()}-{target.name}"
        try:
            _write(draft, key, manifest, sources, progress)
            digest = digest_of(draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        _sync(target.parent)
    report = BackupReport(path=target, size=target.stat().st_size, sha256=digest, manifest=manifest)
    _record(principal, report)
    if "to_region" in leaving:
        went = AuditedAction(
            action="backup.left_region", target=target.name, after=leaving, reason=reason.strip()[:500]
        )
        record(went, actor=principal.reference, subject="site:assay")
    return report


def inspect_backup(*, source: Path, key: BackupKey, progress: Progress = lambda *_: None) -> BackupReport:
    """Read a backup from end to end and return what it holds. Raises BackupUnreadableError, SiteError."""
    manifest: Manifest | None = None
    for name, stream in members(source, key, progress):
        if name == MANIFEST:
            manifest = Manifest.model_validate_json(stream.read())
        elif manifest is None:
            raise BackupUnreadableError("The backup is damaged: its table of contents is not its first file.")
        else:
            check_member(manifest, name, _digest_stream(stream))
    if manifest is None:
        raise BackupUnreadableError("The backup is damaged: it has no table of contents.")
    return BackupReport(path=source, size=source.stat().st_size, sha256=digest_of(source), manifest=manifest)


def members(source: Path, key: BackupKey, progress: Progress) -> Iterator[tuple[str, BinaryIO]]:
    """Return the files of a backup in order; reading them to the end proves that nothing was cut or changed."""
    if not source.is_file():
        raise SiteError(f"There is no backup at {source}.")
    total = source.stat().st_size
    seen: set[str] = set()
    manifest_names: set[str] | None = None
    with source.open("rb") as raw:
        reader = DecryptingReader(raw, key, progress=lambda done: progress("reading", min(done, total), total))
        try:
            with tarfile.open(fileobj=reader, mode="r|") as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    if stream is None or member.name in seen or not _is_allowed(member.name):
                        raise BackupUnreadableError(f"The backup holds {member.name!r}, which does not belong there.")
                    seen.add(member.name)
                    if member.name == MANIFEST:
                        content = stream.read()
                        manifest_names = set(Manifest.model_validate_json(content).members)
                        yield member.name, io.BytesIO(content)
                    else:
                        yield member.name, stream  # type: ignore[misc]  # tarfile gives a readable stream
        except tarfile.TarError as error:
            raise BackupUnreadableError(f"The backup is damaged: {error}") from None
        reader.drain()
    if manifest_names is not None and (lost := manifest_names - seen):
        raise BackupUnreadableError(f"The backup is damaged: {min(lost)} is missing.")


def check_member(manifest: Manifest, name: str, found: MemberFacts) -> None:
    """Raise BackupUnreadableError unless a file of the backup is the one that its table of contents lists."""
    if manifest.members.get(name) != found:
        raise BackupUnreadableError(f"The backup is damaged: {name} is not what the table of contents says.")


def secret_check() -> str:
    """Return what tells whether another site has this site's SECRET_KEY, without telling the key."""
    return hmac.new(settings.SECRET_KEY.encode(), b"assay-backup-secret-check", "sha256").hexdigest()[:32]


def known_migrations() -> set[tuple[str, str]]:
    """Return every migration that this code knows, the replaced ones too."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return set(loader.disk_migrations) | {key for one in loader.disk_migrations.values() for key in one.replaces}


@contextmanager
def working_folder(purpose: str) -> Iterator[Path]:
    """Return a private folder in the state folder, gone afterwards; what a killed process left is removed first."""
    state = Path(settings.STATE_DIR)
    state.mkdir(parents=True, exist_ok=True)
    _sweep(state, f".{purpose}-")
    folder = state / f".{purpose}-{os.getpid()}-{new_id('work')[-8:]}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_key(path: Path) -> BackupKey:
    """Make a key file that is not there yet, readable by this user alone, and return its key. Raises OSError."""
    text = new_key_text()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(text + "\n")
    return key_from_text(text)


def digest_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what processes that are dead have left behind."""
    for path in folder.glob(f"{prefix}*"):
        owner = path.name.removeprefix(prefix).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _collect(work: Path) -> tuple[Manifest, dict[str, Path]]:
    database = work / DATABASE
    snapshot = write_snapshot(database)
    sources = {DATABASE: database}
    state = Path(settings.STATE_DIR)
    if (ledger_key := Path(settings.LEDGER_KEY_FILE)).is_file():
        sources[LEDGER_KEY] = ledger_key
    secret = state / "secret_key"
    # A key that comes from the environment is kept by whoever set it there.
    if secret.is_file() and secret.read_text("ascii").strip() == settings.SECRET_KEY:
        sources[SECRET_KEY] = secret
        # While keys are rotated, some of what is stored is under the key before.
        if (previous := state / "secret_key_previous").is_file():
            sources[PREVIOUS_KEYS] = previous
    files = state / "files"
    for path in sorted(files.rglob("*")) if files.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            sources[f"files/{path.relative_to(files).as_posix()}"] = path
    missing = []
    for digest in snapshot.artifacts:
        path = artifact_path(digest)
        if path.is_file():
            sources[f"artifacts/{digest}"] = path
        else:
            missing.append(digest)
    manifest = Manifest(
        backup=new_id("bkp"),
        version=site_version(),
        made_at=database_now(),
        site=log_origin(),
        engine="postgresql" if engine_name() == "postgresql" else "sqlite",
        migrations=snapshot.migrations,
        tables=snapshot.tables,
        ledger=snapshot.ledger,
        members={name: MemberFacts(size=path.stat().st_size, sha256=digest_of(path)) for name, path in sources.items()},
        artifacts_missing=missing,
        secret_check=secret_check(),
        holds_secret_key=SECRET_KEY in sources,
    )
    return manifest, sources


def _write(draft: Path, key: BackupKey, manifest: Manifest, sources: dict[str, Path], progress: Progress) -> None:
    total = sum(member.size for member in manifest.members.values())
    done = 0
    draft.touch(mode=0o600, exist_ok=False)
    with draft.open("wb") as out:
        writer = EncryptingWriter(out, key)
        with tarfile.open(fileobj=writer, mode="w|") as archive:
            content = manifest.model_dump_json().encode()
            archive.addfile(_entry(MANIFEST, len(content)), io.BytesIO(content))
            for name, path in sources.items():
                with path.open("rb") as stream:
                    archive.addfile(_entry(name, manifest.members[name].size), stream)
                done += manifest.members[name].size
                progress("writing", done, total)
        writer.finish()
        out.flush()
        os.fsync(out.fileno())


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o600
    return entry


def _is_allowed(name: str) -> bool:
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\x00" in name or "\\" in name:
        return False
    if parts[0] == "artifacts":
        return len(parts) == 2 and len(parts[1]) == 64 and set(parts[1]) <= set("0123456789abcdef")
    return parts[0] == "files" or name in {MANIFEST, DATABASE, LEDGER_KEY, SECRET_KEY, PREVIOUS_KEYS}


def _digest_stream(stream: BinaryIO) -> MemberFacts:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(COPY_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return MemberFacts(size=size, sha256=digest.hexdigest())


def _record(principal: Principal, report: BackupReport) -> None:
    manifest = report.manifest
    record(
        BackupMade(
            backup=manifest.backup,
            assay_version=manifest.version,
            engine=manifest.engine,
            sha256=report.sha256,
            size_bytes=report.size,
            tables=len(manifest.tables),
            rows=manifest.rows,
            artifacts=sum(name.startswith("artifacts/") for name in manifest.members),
            artifacts_missing=len(manifest.artifacts_missing),
            ledger_size=manifest.ledger.size if manifest.ledger else 0,
            checkpoint_size=manifest.ledger.checkpoint_size if manifest.ledger else 0,
            checkpoint_root=manifest.ledger.checkpoint_root if manifest.ledger else "",
            made_at=manifest.made_at,
        ),
        actor=principal.reference,
        subject="site:assay",
        occurred_at=manifest.made_at,
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
