"""A site's database as a backup sees it: one consistent snapshot, put into a file, counted, and put back."""

import gzip
import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import sql

from drivers.domain.site_manifest import LedgerFacts, TableFacts

Rows = Callable[[str], list[tuple[Any, ...]]]


class SiteError(RuntimeError):
    """The step cannot be done; the message says why and what to do. `code` is the command's exit code."""

    def __init__(self, message: str, *, code: int = 2) -> None:
        self.code = code
        super().__init__(message)


class NewerReleaseError(SiteError):
    """A newer release has been in the database."""


@dataclass(frozen=True)
class Snapshot:
    """What one instant of the database holds."""

    tables: dict[str, TableFacts]
    migrations: dict[str, list[str]]
    ledger: LedgerFacts | None
    artifacts: list[str]


def engine_name() -> str:
    """Return the engine that this site runs on."""
    return "postgresql" if connection.vendor == "postgresql" else "sqlite"


def sqlite_path() -> Path:
    """Return the file of an SQLite site."""
    return Path(settings.DATABASES["default"]["NAME"])


def write_snapshot(target: Path) -> Snapshot:
    """Put the database as it is at one instant into a file, and return what that instant holds."""
    return _dump_postgresql(target) if engine_name() == "postgresql" else _copy_sqlite(target)


def _copy_sqlite(target: Path) -> Snapshot:
    copy = target.with_suffix(".copy")
    with (
        closing(sqlite3.connect(f"file:{sqlite_path()}?mode=ro", uri=True, timeout=30)) as source,
        closing(sqlite3.connect(copy)) as destination,
    ):
        source.backup(destination)
    snapshot = sqlite_snapshot(copy)
    with copy.open("rb") as plain, gzip.open(target, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed, 1024 * 1024)
    copy.unlink()
    return snapshot


def sqlite_snapshot(path: Path) -> Snapshot:
    """Return what an SQLite file holds. Raises SiteError when the file is not a whole database."""
    with closing(sqlite3.connect(path)) as database:
        try:
            problem = database.execute("PRAGMA quick_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            problem = str(error)
        if problem != "ok":
            raise SiteError(f"The database of the backup is damaged: {problem}", code=1)

        def rows(query: str) -> list[tuple[Any, ...]]:
            return database.execute(query).fetchall()

        names = [
            row[0] for row in rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        ]
        tables = {}
        for name in sorted(names):
            digest, count = hashlib.sha256(), 0
            for row in database.execute(f'SELECT * FROM "{name}" ORDER BY rowid'):  # noqa: S608 a table's own name  # nosec B608
                digest.update(repr(row).encode())
                count += 1
            tables[name] = TableFacts(rows=count, sha256=digest.hexdigest())
        return _snapshot(rows, tables)


def _dump_postgresql(target: Path) -> Snapshot:
    with postgresql_snapshot() as (snapshot, identifier):
        run_tool(
            ["pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--snapshot={identifier}", f"--file={target}"]
        )
        return snapshot


@contextmanager
def postgresql_snapshot() -> Iterator[tuple[Snapshot, str]]:
    """Hold one instant of the database open for other connections; yields what it holds and its identifier."""
    with psycopg.connect(**_connection_values()) as link:
        link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        link.execute("SET LOCAL TIME ZONE 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL extra_float_digits = 1")
        found = link.execute("SELECT pg_export_snapshot()").fetchone()
        yield postgresql_facts(link), str(found[0]) if found else ""


def postgresql_facts(link: "psycopg.Connection[Any]") -> Snapshot:
    """Return what the public schema holds as a transaction sees it."""
    names = [
        row[0]
        # The parts of a table are counted with it, so that it is the same however they lie.
        for row in link.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"
        ).fetchall()
    ]
    tables = {}
    for name in names:
        keys = link.execute(
            "SELECT a.attname FROM pg_index i"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
            " WHERE i.indrelid = format('public.%%I', %s::text)::regclass AND i.indisprimary ORDER BY a.attnum",
            (name,),
        ).fetchall()
        order = sql.SQL(", ").join(sql.Identifier(key[0]) for key in keys) if keys else sql.SQL("1")
        query = sql.SQL("COPY (SELECT * FROM public.{} ORDER BY {}) TO STDOUT").format(sql.Identifier(name), order)
        digest, count = hashlib.sha256(), 0
        with link.cursor() as cursor, cursor.copy(query) as lines:
            for line in lines:
                digest.update(line)
                count += 1
        tables[name] = TableFacts(rows=count, sha256=digest.hexdigest())
    return _snapshot(lambda query: link.execute(query.encode()).fetchall(), tables)


def current_postgresql_facts() -> Snapshot:
    """Return what the database holds now."""
    with postgresql_snapshot() as (snapshot, _):
        return snapshot


def _snapshot(rows: Rows, tables: dict[str, TableFacts]) -> Snapshot:
    migrations: dict[str, list[str]] = {}
    if "django_migrations" in tables:
        for app, name in rows("SELECT app, name FROM django_migrations ORDER BY app, name"):
            migrations.setdefault(app, []).append(name)
    ledger = None
    if "ledger_loghead" in tables and (head := rows("SELECT size FROM ledger_loghead WHERE id = 1")):
        newest = rows("SELECT size, root, note FROM ledger_checkpoint ORDER BY id DESC LIMIT 1")
        size, root, note = newest[0] if newest else (0, b"", "")
        ledger = LedgerFacts(
            size=head[0][0], checkpoint_size=size, checkpoint_root=bytes(root).hex(), checkpoint_note=note
        )
    artifacts = (
        [row[0] for row in rows("SELECT sha256 FROM ledger_artifact ORDER BY sha256")]
        if "ledger_artifact" in tables
        else []
    )
    return Snapshot(tables=tables, migrations=migrations, ledger=ledger, artifacts=artifacts)


def tables_here() -> list[str]:
    """Return the tables that the site's database has now; none when it is not there."""
    if engine_name() == "sqlite":
        path = sqlite_path()
        if not path.exists() or not path.stat().st_size:
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            try:
                return [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            except sqlite3.DatabaseError:
                return ["a file that is not a database"]
    with psycopg.connect(**_connection_values()) as link:
        return [
            row[0] for row in link.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        ]


def who_uses_the_database() -> list[str]:
    """Return the processes or sessions, other than this one, that have the site's database open."""
    if engine_name() == "postgresql":
        with psycopg.connect(**_connection_values()) as link:
            found = link.execute(
                "SELECT pid, application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchall()
        return [f"session {pid} {name}".strip() for pid, name in found]
    path = str(sqlite_path())
    users = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            held = any(str(entry.readlink()).startswith(path) for entry in folder.iterdir())
        except OSError:
            continue
        if held and folder.parent.name != str(os.getpid()):
            users.append(f"process {folder.parent.name}")
    return users


def load_postgresql(dump: Path, *, hold: tuple[str, str, str]) -> None:
    """Replace the public schema by the dump's, with the hold in the same transaction: all of it, or nothing.

    `hold` is the instant, reason and backup of the hold.
    """
    instant, reason, backup = (value.replace("'", "''") for value in hold)
    columns = "held_at, reason, backup, released_by, note"
    values = f"'{instant}', '{reason}', '{backup}', '', ''"
    after = f"INSERT INTO public.core_sitehold ({columns}) VALUES ({values});\n"  # noqa: S608 quotes are doubled above  # nosec B608
    before = "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public;\n"
    script = dump.with_suffix(".sql")
    run_tool(["pg_restore", "--no-owner", "--no-acl", f"--file={script}", str(dump)], connect=False)
    whole = dump.with_suffix(".whole.sql")
    with whole.open("wb") as out:
        out.write(before.encode())
        with script.open("rb") as body:
            shutil.copyfileobj(body, out)
        out.write(after.encode())
    script.unlink()
    run_tool(["psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--file={whole}"])


def run_tool(command: list[str], *, connect: bool = True) -> None:
    """Run one of PostgreSQL's own programs against the site's database. Raises SiteError with what it said."""
    program = shutil.which(command[0])
    if program is None:
        raise SiteError(f"{command[0]} is not installed; install PostgreSQL's client programs.", code=3)
    environment = {**os.environ, "LC_ALL": "C"}
    if connect:
        values = settings.DATABASES["default"]
        names = {"PGDATABASE": "NAME", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGHOST": "HOST", "PGPORT": "PORT"}
        environment |= {name: str(values[key]) for name, key in names.items() if values.get(key)}
        environment |= {
            f"PG{key.upper()}": str(value)
            for key, value in values.get("OPTIONS", {}).items()
            if key in {"sslmode", "sslrootcert", "sslcert", "sslkey"}
        }
    done = subprocess.run(  # noqa: S603 fixed programs, no shell
        [program, *command[1:]], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SiteError(f"{command[0]} failed: {said[0] if said else f'exit code {done.returncode}'}", code=3)


def _connection_values() -> dict[str, Any]:
    values = connection.get_connection_params()
    return {
        key: value
        for key, value in values.items()
        if key in {"dbname", "user", "password", "host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey"}
    }
