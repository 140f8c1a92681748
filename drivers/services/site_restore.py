"""Put a backup back: read and check all of it first, then take its place, held, and recorded in the ledger.

A restore that is killed has either changed nothing, or has left a note that keeps every process from starting; the same
restore, run again, completes it.
"""

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from pydantic import ValidationError

from accounts.data import Capability, Principal
from accounts.services import close_again, closed_here, ensure_may
from core.clock import database_now
from core.context import site_version
from core.holding import SiteHold, current_hold, forget_what_is_known, unfinished_restore
from drivers.domain.site_encryption import BackupKey, BackupUnreadableError, NewerFormatError
from drivers.domain.site_manifest import Manifest, table_differences, unknown_migrations
from drivers.services.site_backup import (
    DATABASE,
    LEDGER_KEY,
    MANIFEST,
    PREVIOUS_KEYS,
    SECRET_KEY,
    Progress,
    check_member,
    digest_of,
    known_migrations,
    members,
    secret_check,
    working_folder,
)
from drivers.services.site_database import (
    SiteError,
    current_postgresql_facts,
    engine_name,
    load_postgresql,
    sqlite_path,
    sqlite_snapshot,
    tables_here,
    who_uses_the_database,
)
from ledger.data.recovery import SiteRestored
from ledger.services import make_checkpoint, record, verify_log
from ledger.services.artifacts import artifact_path

COPY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RestoreReport:
    """What a restore has done, and whether what is there now is what the backup promised."""

    manifest: Manifest
    differences: tuple[str, ...]
    ledger_problems: tuple[str, ...]
    ledger_size: int
    held: bool
    closed_again: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Say whether everything held."""
        return not self.differences and not self.ledger_problems


@dataclass(frozen=True)
class _Staged:
    manifest: Manifest
    folder: Path
    backup_sha256: str


def restore_site(
    *, principal: Principal, source: Path, key: BackupKey, force: bool = False, progress: Progress = lambda *_: None
) -> RestoreReport:
    """Restore a backup into this site's state folder and database. Raises SiteError, BackupUnreadableError.

    1. Look at the target: it must be empty, or `force` given, and nobody may be using it.
    2. Read the backup to its end into a private folder and check every file, table and version. Nothing was touched.
    3. Note that a restore has begun; artifacts, files and keys take their places, the database last, held.
    4. Apply newer migrations, record the restore in the ledger, sign a checkpoint, verify the log.
    5. End every session, and close again who was closed here, and tokens revoked, since the backup; the note goes.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    note = unfinished_restore()
    resumed = json.loads(note.read_text("utf-8")) if note.exists() else None
    there = [name for name in tables_here() if not name.startswith("sqlite_")]
    if users := who_uses_the_database():
        raise SiteError(f"The database is in use by {', '.join(users[:5])}; stop the site first. Nothing was changed.")
    with working_folder("restore") as work:
        staged = _stage(work, source, key, progress)
        unfinished = resumed is not None and resumed.get("backup") == staged.manifest.backup
        if there and not force and not unfinished:
            raise SiteError(
                f"The target is not empty: its database has {len(there)} tables. Give --force to replace it, "
                "or choose another ASSAY_STATE_DIR or DATABASE_URL. Nothing was changed."
            )
        progress("replacing", 0, 1)
        closed = resumed["closed"] if resumed and unfinished and "closed" in resumed else _closed_here(there)
        _note(note, staged, closed)
        _place_files(staged)
        _place_database(staged)
        differences = _differences(staged)
        report = _complete(principal, staged, differences, replaced=bool(there), progress=progress)
        return replace(report, closed_again=_close_again(principal, closed))


def _closed_here(there: Sequence[str]) -> dict[str, list[str]]:
    """Return what must not be opened again by an older state; nothing where there is no database that could say."""
    if not {"accounts_user", "accounts_apitoken"} <= set(there):
        return {}
    try:
        return closed_here()
    except DatabaseError:
        return {}


def _close_again(principal: Principal, closed: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """End all sessions of the backup, and what was closed here since; its note goes with the last step."""
    again = close_again(principal=principal, closed=closed)
    unfinished_restore().unlink(missing_ok=True)
    return tuple(again)


def _stage(work: Path, source: Path, key: BackupKey, progress: Progress) -> _Staged:
    """Bring a backup's files into a private folder, each checked. Raises before anything else is touched."""
    manifest: Manifest | None = None
    for name, stream in members(source, key, progress):
        if name == MANIFEST:
            manifest = _parse(stream.read())
            _ensure_fits(manifest)
            continue
        if manifest is None:
            raise BackupUnreadableError("The backup is damaged: its table of contents is not its first file.")
        path = work / "stage" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("wb") as out:
            shutil.copyfileobj(stream, out, COPY_BYTES)
        expected = manifest.members.get(name)
        found = (
            expected.model_copy(update={"size": path.stat().st_size, "sha256": digest_of(path)}) if expected else None
        )
        if found is None:
            raise BackupUnreadableError(f"The backup holds {name!r}, which its table of contents does not list.")
        check_member(manifest, name, found)
    if manifest is None:
        raise BackupUnreadableError("The backup is damaged: it has no table of contents.")
    staged = _Staged(manifest=manifest, folder=work / "stage", backup_sha256=digest_of(source))
    if manifest.engine == "sqlite":
        _unpack_sqlite(staged)
    return staged


def _parse(content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise NewerFormatError(
            f"The backup's table of contents is not one that this version reads ({where}). Update first."
        ) from None


def _ensure_fits(manifest: Manifest) -> None:
    if unknown := unknown_migrations(manifest, known_migrations()):
        raise NewerFormatError(
            f"The backup was made by a newer version ({manifest.version}) than this one ({site_version()}): it has "
            f"{unknown[0]}{f' and {len(unknown) - 1} more migrations' if len(unknown) > 1 else ''}. Update first."
        )
    if manifest.engine != engine_name():
        raise SiteError(
            f"The backup is of a site on {manifest.engine}; this one is on {engine_name()}. "
            "Set DATABASE_URL to a database of the same kind."
        )
    if not manifest.holds_secret_key and manifest.secret_check != secret_check():
        raise SiteError(
            "The backup's secrets were stored under another SECRET_KEY, which it does not hold. "
            "Set SECRET_KEY to the one of the original."
        )
    if manifest.holds_secret_key and settings.ENVIRONMENT.secret_key and manifest.secret_check != secret_check():
        raise SiteError(
            "SECRET_KEY is set here and is not the one of the backup; unset it, or set the original's. "
            "Otherwise the stored secrets cannot be read."
        )


def _unpack_sqlite(staged: _Staged) -> None:
    target = staged.folder / "assay.sqlite3"
    with gzip.open(staged.folder / DATABASE, "rb") as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain, COPY_BYTES)
    found = sqlite_snapshot(target)
    if differences := table_differences(staged.manifest.tables, found.tables):
        raise SiteError(f"The database of the backup is not the one that was saved: {differences[0]}.", code=1)


def _note(note: Path, staged: _Staged, closed: Mapping[str, Sequence[str]]) -> None:
    draft = note.with_suffix(f".{os.getpid()}")
    with draft.open("w", encoding="utf-8") as out:
        json.dump({"backup": staged.manifest.backup, "sha256": staged.backup_sha256, "closed": closed}, out)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(note)


def _place_files(staged: _Staged) -> None:
    files = Path(settings.STATE_DIR) / "files"
    for name in staged.manifest.members:
        source = staged.folder / name
        if name == LEDGER_KEY:
            _place(source, Path(settings.LEDGER_KEY_FILE))
        elif name == SECRET_KEY:
            _place(source, Path(settings.STATE_DIR) / "secret_key")
            settings.SECRET_KEY = source.read_text("ascii").strip()
        elif name == PREVIOUS_KEYS:
            _place(source, Path(settings.STATE_DIR) / "secret_key_previous")
            settings.SECRET_KEY_FALLBACKS = source.read_text("ascii").split()
        elif name.startswith("artifacts/"):
            _place(source, artifact_path(name.removeprefix("artifacts/")))
        elif name.startswith("files/"):
            _place(source, files / name.removeprefix("files/"))


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with source.open("rb") as stream, draft.open("wb") as out:
        os.fchmod(out.fileno(), 0o600)
        shutil.copyfileobj(stream, out, COPY_BYTES)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(target)


def _place_database(staged: _Staged) -> None:
    """Give the database its place in one step; the hold is in it from the first instant."""
    instant = database_now()
    reason = f"restored from the backup of {staged.manifest.made_at:%Y-%m-%d %H:%M} UTC"
    if staged.manifest.engine == "postgresql":
        connection.close()
        load_postgresql(staged.folder / DATABASE, hold=(instant.isoformat(), reason, staged.manifest.backup))
        return
    staged_database, target = staged.folder / "assay.sqlite3", sqlite_path()
    with closing(sqlite3.connect(staged_database)) as database:
        database.execute(
            "INSERT INTO core_sitehold (held_at, reason, backup, released_by, note) VALUES (?, ?, ?, '', '')",
            (instant.replace(tzinfo=None).isoformat(" "), reason, staged.manifest.backup),
        )
        database.commit()
        database.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(staged_database, draft)
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    # The journal of what was there before must not be played into what comes.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    draft.replace(target)


def _differences(staged: _Staged) -> list[str]:
    """Return what the tables have otherwise than promised; the hold itself is not among them."""
    found = sqlite_snapshot(sqlite_path()) if staged.manifest.engine == "sqlite" else current_postgresql_facts()
    promised, tables = dict(staged.manifest.tables), dict(found.tables)
    held = promised.pop("core_sitehold", None)
    now = tables.pop("core_sitehold", None)
    differences = table_differences(promised, tables)
    if now is None or now.rows != (held.rows if held else 0) + 1:
        differences.append("the hold is not there")
    return differences


def _complete(
    principal: Principal, staged: _Staged, differences: list[str], *, replaced: bool, progress: Progress
) -> RestoreReport:
    manifest = staged.manifest
    call_command("migrate", verbosity=0)
    forget_what_is_known()
    with transaction.atomic():
        if current_hold() is None:
            SiteHold.objects.create(held_at=database_now(), reason="restored", backup=manifest.backup)
        _record(principal, staged, replaced=replaced)
    progress("verifying", 0, 1)
    make_checkpoint()
    found = verify_log()
    return RestoreReport(
        manifest=manifest,
        differences=tuple(differences),
        ledger_problems=tuple(found.problems),
        ledger_size=found.entries,
        held=current_hold() is not None,
    )


def _record(principal: Principal, staged: _Staged, *, replaced: bool) -> None:
    manifest, ledger = staged.manifest, staged.manifest.ledger
    record(
        SiteRestored(
            backup=manifest.backup,
            backup_version=manifest.version,
            backup_sha256=staged.backup_sha256,
            made_at=manifest.made_at,
            restored_by_version=site_version(),
            engine=manifest.engine,
            rows=manifest.rows,
            artifacts=sum(name.startswith("artifacts/") for name in manifest.members),
            continues_from_size=ledger.size if ledger else 0,
            continues_from_checkpoint_size=ledger.checkpoint_size if ledger else 0,
            continues_from_root=ledger.checkpoint_root if ledger else "",
            continues_from_note=ledger.checkpoint_note if ledger else "",
            replaced_a_site=replaced,
        ),
        actor=principal.reference,
        subject="site:assay",
    )
