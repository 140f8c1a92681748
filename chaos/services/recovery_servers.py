"""What rehearsals on PostgreSQL share: rows and markers, waiting, the kill, and the look at the recovered side."""

import threading
import time
from typing import Any

import psycopg

from chaos.domain.recovery_documents import RehearsalSpec
from chaos.services.recovery_context import DrillContext, DrillError, DrillResult
from chaos.services.recovery_markers import MarkerWriter
from drivers.services.site_postgresql import PrivateCluster, wait_until

ROWS = "CREATE TABLE orders (id bigint PRIMARY KEY, body text NOT NULL)"
MARKERS = "CREATE TABLE markers (number bigint PRIMARY KEY, sent_at timestamptz NOT NULL DEFAULT clock_timestamp())"
CHECKSUM = "SELECT count(*), md5(string_agg(id || ':' || body, ',' ORDER BY id)) FROM orders"
CATCH_UP_SECONDS = 30.0
DETECT_EVERY = 0.1


def rehearsal_of(context: DrillContext) -> RehearsalSpec:
    """Return what is rehearsed. Raises DrillError."""
    if context.spec.rehearsal is None:
        raise DrillError("the definition has no rehearsal")
    return context.spec.rehearsal


def fill(server: PrivateCluster, rows: int) -> tuple[int, str]:
    """Put in the rows that are compared afterwards; returns their count and checksum."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(ROWS)
        connection.execute(MARKERS)
        connection.execute(
            "INSERT INTO orders SELECT id, md5(id::text) || repeat('x', 100) FROM generate_series(1, %s::int) AS id",
            (rows,),
        )
        return _checksum(connection)


def _checksum(connection: "psycopg.Connection[Any]") -> tuple[int, str]:
    found = connection.execute(CHECKSUM).fetchone()
    if found is None:
        raise DrillError("the rows could not be counted")
    return int(found[0]), str(found[1])


class Client:
    """Writes markers with a connection for each thread, made anew after it broke, as a pool does."""

    def __init__(self, dsn: str, *, base: int = 0) -> None:
        self._dsn = dsn
        self._base = base
        self._local = threading.local()
        self._links: set[psycopg.Connection[Any]] = set()

    def write(self, number: int) -> None:
        """Write one marker; returns once the server has said that it is committed."""
        link: psycopg.Connection[Any] | None = getattr(self._local, "link", None)
        if link is None:
            link = self._local.link = psycopg.connect(self._dsn, autocommit=True)
            self._links.add(link)
        try:
            link.execute("INSERT INTO markers (number) VALUES (%s)", (self._base + number,))
        except psycopg.Error:
            self._local.link = None
            self._links.discard(link)
            link.close()
            raise

    def close(self) -> None:
        """Close what is open."""
        for link in list(self._links):
            link.close()


def open_writer(context: DrillContext, dsn: str, account: str, *, base: int = 0) -> MarkerWriter:
    """Begin to write markers through a client path; the account is kept under its name."""
    client = Client(dsn, base=base)
    path = context.folder / f"{account}.jsonl"
    writer = MarkerWriter(client.write, context.spec.probe.cadence, account=path, on_close=client.close)
    writer.start()
    return writer


def write_for(writer: MarkerWriter, spec: RehearsalSpec) -> None:
    """Let markers be written for a while, and for as long as it takes until some were acknowledged."""
    time.sleep(spec.write_for.total_seconds())
    if not writer.wait_for_acknowledged(1, give_up_after=CATCH_UP_SECONDS):
        raise DrillError("no marker was acknowledged before the fault")


def wait_for_replication(source: PrivateCluster, target: PrivateCluster) -> None:
    """Wait until the target follows the source, and has replayed what the source has written by now."""
    if not wait_until(lambda: is_followed(source), seconds=CATCH_UP_SECONDS):
        raise DrillError("the standby did not connect to the primary")
    with psycopg.connect(source.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    wanted = found[0] if found else "0/0"

    def there() -> bool:
        try:
            with psycopg.connect(target.dsn(), autocommit=True) as connection:
                row = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (wanted,)).fetchone()
        except psycopg.Error:
            return False
        return bool(row and row[0])

    if not wait_until(there, seconds=CATCH_UP_SECONDS):
        raise DrillError("the standby did not catch up")


def is_followed(source: PrivateCluster) -> bool:
    """Say whether a standby streams from the server now."""
    with psycopg.connect(source.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").fetchone()
    return bool(found and found[0])


def detect(server: PrivateCluster, failures: int) -> None:
    """Ask a server until it has failed to answer so many times in a row."""
    missed = 0
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while missed < failures and time.monotonic() < deadline:
        try:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("SELECT 1")
            missed = 0
        except psycopg.Error:
            missed += 1
        if missed < failures:
            time.sleep(DETECT_EVERY)


def detect_and_decide(context: DrillContext, result: DrillResult, server: PrivateCluster) -> None:
    """Ask the server that is gone until that is sure; a rehearsal decides by rule, at once."""
    with context.step("detect"):
        detect(server, rehearsal_of(context).detect_after_failures)
        result.end_part("detect")
        result.end_part("decide")


def wait_until_it_holds(context: DrillContext, result: DrillResult, writer: MarkerWriter) -> None:
    """Wait until the client's writes go on succeeding, and keep what it wrote down."""
    probe = context.spec.probe
    with context.step("wait until it holds"):
        writer.wait_until_sustained(
            after=result.fault_done,
            seconds=probe.sustained_for.total_seconds(),
            give_up_after=probe.give_up_after.total_seconds(),
        )
    result.markers = writer.stop()


def look_at(
    context: DrillContext,
    result: DrillResult,
    server: PrivateCluster,
    before: tuple[int, str],
    protections: dict[str, str],
) -> None:
    """Read the markers back, compare the rows, and look at what protects the recovered side."""
    with context.step("look at the recovered side"):
        result.survivors = survivors_on(server)
        compare_data(result, before, server)
        result.security = parity(protections, protections_of(server), server)


def survivors_on(server: PrivateCluster) -> set[int]:
    """Return the markers that are on a server."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT number FROM markers").fetchall()}


def compare_data(result: DrillResult, before: tuple[int, str], server: PrivateCluster) -> None:
    """Compare the rows that were there before with those that are there now."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        after = _checksum(connection)
    result.data_passed = after == before
    result.data_check = f"{before[0]} rows by count and checksum"
    if after != before:
        result.differences.append(f"{after[0]} rows with another checksum, {before[0]} were there")


def protections_of(server: PrivateCluster) -> dict[str, str]:
    """Return what protects a server, as it says itself."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        facts = {
            name: str(connection.execute("SELECT current_setting(%s)", (name,)).fetchone())
            for name in ("ssl", "password_encryption", "log_connections", "ssl_min_protocol_version")
        }
        facts["roles"] = str(
            connection.execute(
                "SELECT md5(string_agg(concat_ws(':', rolname, rolsuper, rolcanlogin, rolpassword), ','"
                " ORDER BY rolname)) FROM pg_authid"
            ).fetchone()
        )
        facts["who may connect, and how"] = str(
            connection.execute(
                "SELECT md5(string_agg(concat_ws(':', type, database, user_name, address, auth_method), ','"
                " ORDER BY line_number)) FROM pg_hba_file_rules"
            ).fetchone()
        )
        facts["encrypted connection"] = str(
            connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        )
    return facts


def parity(before: dict[str, str], after: dict[str, str], server: PrivateCluster) -> dict[str, bool]:
    """Compare protections, and try to get in without password and without TLS."""
    return {
        **{f"{name} is as it was": after.get(name) == value for name, value in before.items()},
        "a wrong password is refused": _is_refused(f"{server.dsn()} password=made-up"),
        "a connection without TLS is refused": _is_refused(f"{server.dsn()} sslmode=disable"),
    }


def _is_refused(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError as error:
        return "authentication failed" in str(error) or "no pg_hba.conf entry" in str(error)
    return False


def wait_until_archived(server: PrivateCluster) -> None:
    """Wait until the segment of the log that the server writes to now is in its archive."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
    if found is None or not wait_until(lambda: last_archived_by(server) >= found[0], seconds=CATCH_UP_SECONDS):
        raise DrillError("the server archived none of the segments that markers were written to")


def last_archived_by(server: PrivateCluster) -> str:
    """Return the newest segment that the server has archived; empty when none."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT last_archived_wal FROM pg_stat_archiver").fetchone()
    return str(found[0] or "") if found else ""


def is_recovering(server: PrivateCluster) -> bool:
    """Say whether the server still replays; one that does not answer yet does."""
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            found = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    except psycopg.Error:
        return True
    return bool(found is None or found[0])
