"""PostgreSQL rehearsals: failover and failback behind HAProxy, and a base backup with its write-ahead log.

The servers, the proxy and the data are the test's own, on this host; the kill, the promotion, the lost rows and the
times are real.
"""

import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from chaos.domain.recovery_documents import Kind, RehearsalSpec
from chaos.domain.recovery_measure import measure
from chaos.services.recovery_context import DrillContext, DrillError, DrillResult
from chaos.services.recovery_front import DelayedLink, Front
from chaos.services.recovery_markers import MarkerWriter
from drivers.services.site_database import SiteError
from drivers.services.site_postgresql import PrivateCluster, wait_until

ROWS = "CREATE TABLE orders (id bigint PRIMARY KEY, body text NOT NULL)"
MARKERS = "CREATE TABLE markers (number bigint PRIMARY KEY, sent_at timestamptz NOT NULL DEFAULT clock_timestamp())"
CHECKSUM = "SELECT count(*), md5(string_agg(id || ':' || body, ',' ORDER BY id)) FROM orders"
CATCH_UP_SECONDS = 30.0
DETECT_EVERY = 0.1
ARCHIVE_TIMEOUT = "2s"


def rehearse_failover(context: DrillContext) -> DrillResult:
    """Kill a primary under load, promote its standby, move clients over; then fail back, without losing a row."""
    spec = _rehearsal(context)
    result = DrillResult(
        scope="primary, standby and HAProxy of the test's own on this host",
        witness="markers through HAProxy, read back from the promoted server",
    )
    primary, standby = PrivateCluster(context.folder / "a"), PrivateCluster(context.folder / "b")
    context.owe(primary.remove)
    context.owe(standby.remove)
    link: DelayedLink | None = None
    with context.step("put up primary, standby and HAProxy"):
        primary.create(["wal_log_hints = on", "wal_keep_size = '256MB'"])
        primary.start()
        before = _fill(primary, spec.rows)
        if spec.replication_delay:
            link = DelayedLink(primary.port, spec.replication_delay.total_seconds())
            context.owe(link.close)
        standby.clone_from(primary, through_port=link.port if link else None)
        standby.start()
        _wait_for_replication(primary, standby)
        front = Front(context.folder, {"a": primary.port, "b": standby.port})
        context.owe(front.stop)
        front.start(active="a")
    protections = _protections(primary)
    writer = _writer(context, primary, front, "failover")
    with context.step("write markers"):
        _write_for(writer, spec)
    _kill_and_detect(context, result, primary, link)
    with context.step("promote the standby"):
        standby.promote()
        result.end_part("promote")
    _move_clients(context, result, front, writer)
    _look_at(context, result, standby, before, protections)
    if spec.failback:
        said = result.more["failback"] = _fail_back(context, front, primary, standby)
        if said["lost_rows"] or not said["recovered"]:
            result.data_passed = False
            lost = f"failing back lost {said['lost_rows']} rows"
            result.differences.append(lost if said["recovered"] else "after failing back, writes did not succeed")
    result.more["replication_delay_s"] = spec.replication_delay.total_seconds()
    return result


def _fail_back(context: DrillContext, front: Front, old: PrivateCluster, new: PrivateCluster) -> dict[str, Any]:
    """Bring the failed server back as a standby, then hand over to it in order; a planned move may lose nothing."""
    with context.step("rebuild the failed server as a standby") as step:
        with psycopg.connect(new.dsn(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        try:
            old.rewind_to(new)
            step["detail"] = "rewound"
        except SiteError as error:
            shutil.rmtree(old.data)
            old.clone_from(new)
            step["detail"] = f"cloned anew: {error}"
        old.start()
        _wait_for_replication(new, old)
    writer = _writer(context, new, front, "failback", base=1_000_000)
    with context.step("hand over"):
        writer.wait_for_acknowledged(10, give_up_after=CATCH_UP_SECONDS)
        started = time.monotonic()
        front.close_server("b")
        _wait_for_replication(new, old)
        new.stop()
        old.promote()
        front.open_server("a")
        held = writer.wait_until_sustained(after=started, seconds=1.0, give_up_after=CATCH_UP_SECONDS)
    markers = writer.stop()
    found = measure(markers, {number - 1_000_000 for number in _survivors(old)}, fault_at=started, fault_done=started)
    return {
        "recovered": held,
        "outage_s": None if found.client_outage is None else round(found.client_outage, 3),
        "acknowledged_rows": found.acknowledged,
        "lost_rows": len(found.lost),
        "ambiguous_rows": len(found.ambiguous),
    }


def rehearse_point_in_time(context: DrillContext) -> DrillResult:
    """Lose a server that archives its log; rebuild it from base backup and archive, to the end and to an instant."""
    spec, probe = _rehearsal(context), context.spec.probe
    result = DrillResult(
        scope="a server of the test's own on this host, its base backup and its archive",
        witness="markers through HAProxy, read back from the rebuilt server",
    )
    archive = context.folder / "archive"
    archive.mkdir(mode=0o777)
    archive.chmod(0o777)
    original, rebuilt = PrivateCluster(context.folder / "a"), PrivateCluster(context.folder / "b")
    context.owe(original.remove)
    context.owe(rebuilt.remove)
    with context.step("put up a server that archives, take a base backup") as step:
        original.create(
            [
                "archive_mode = on",
                f"archive_timeout = '{ARCHIVE_TIMEOUT}'",
                f"archive_command = 'cp %p {archive}/.%f && mv {archive}/.%f {archive}/%f'",
            ]
        )
        original.start()
        before = _fill(original, spec.rows)
        rebuilt.clone_from(original, follow=False)
        rebuilt.run_program("pg_verifybackup", str(rebuilt.data))
        step["detail"] = "base backup verified by its manifest"
        front = Front(context.folder, {"a": original.port, "b": rebuilt.port})
        context.owe(front.stop)
        front.start(active="a")
    protections = _protections(original)
    writer = _writer(context, original, front, "point-in-time")
    with context.step("write markers"):
        _write_for(writer, spec)
        if not wait_until(lambda: _archived(original) > 0, seconds=CATCH_UP_SECONDS):
            raise DrillError("the server archived nothing")
    _kill_and_detect(context, result, original, None)
    with context.step("replay base backup and archive"):
        rebuilt.configure(
            f"restore_command = 'cp {archive}/%f %p'", "recovery_target_timeline = 'latest'", "archive_mode = off"
        )
        rebuilt.ask_to_recover()
        rebuilt.start()
        if not wait_until(lambda: not _in_recovery(rebuilt), seconds=probe.give_up_after.total_seconds()):
            raise DrillError("the rebuilt server did not leave recovery")
        result.end_part("restore")
    _move_clients(context, result, front, writer)
    _look_at(context, result, rebuilt, before, protections)
    result.more["archive_timeout"] = ARCHIVE_TIMEOUT
    return result


DRILLS: dict[Kind, Callable[[DrillContext], DrillResult]] = {
    Kind.FAILOVER: rehearse_failover,
    Kind.POINT_IN_TIME: rehearse_point_in_time,
}


def _rehearsal(context: DrillContext) -> RehearsalSpec:
    if context.spec.rehearsal is None:
        raise DrillError("the definition has no rehearsal")
    return context.spec.rehearsal


def _fill(server: PrivateCluster, rows: int) -> tuple[int, str]:
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


class _Client:
    """Writes markers with a connection for each thread, made anew after it broke, as a pool does."""

    def __init__(self, server: PrivateCluster, port: int, *, base: int = 0) -> None:
        self._dsn = server.dsn(port=port)
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
        for link in self._links:
            link.close()


def _writer(
    context: DrillContext, server: PrivateCluster, front: Front, account: str, *, base: int = 0
) -> MarkerWriter:
    client = _Client(server, front.port, base=base)
    path = context.folder / f"{account}.jsonl"
    writer = MarkerWriter(client.write, context.spec.probe.cadence, account=path, on_close=client.close)
    writer.start()
    return writer


def _write_for(writer: MarkerWriter, spec: RehearsalSpec) -> None:
    """Let markers be written for a while, and for as long as it takes until some were acknowledged."""
    time.sleep(spec.write_for.total_seconds())
    if not writer.wait_for_acknowledged(1, give_up_after=CATCH_UP_SECONDS):
        raise DrillError("no marker was acknowledged before the fault")


def _wait_for_replication(source: PrivateCluster, target: PrivateCluster) -> None:
    """Wait until the target follows the source, and has replayed what the source has written by now."""
    if not wait_until(lambda: _is_followed(source), seconds=CATCH_UP_SECONDS):
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


def _is_followed(source: PrivateCluster) -> bool:
    with psycopg.connect(source.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").fetchone()
    return bool(found and found[0])


def _detect(server: PrivateCluster, failures: int) -> None:
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


def _kill_and_detect(
    context: DrillContext, result: DrillResult, server: PrivateCluster, link: DelayedLink | None
) -> None:
    with context.step("kill the primary"):
        began = time.monotonic()
        server.kill()
        if link is not None:
            # What was still on the line is lost with the host that sent it.
            link.close()
        result.fault(at=began)
    with context.step("detect"):
        _detect(server, _rehearsal(context).detect_after_failures)
        result.end_part("detect")
        result.end_part("decide")


def _move_clients(context: DrillContext, result: DrillResult, front: Front, writer: MarkerWriter) -> None:
    probe = context.spec.probe
    with context.step("move the clients over"):
        front.switch(away_from="a", to="b")
    with context.step("wait until it holds"):
        writer.wait_until_sustained(
            after=result.fault_done,
            seconds=probe.sustained_for.total_seconds(),
            give_up_after=probe.give_up_after.total_seconds(),
        )
    result.markers = writer.stop()


def _look_at(
    context: DrillContext,
    result: DrillResult,
    server: PrivateCluster,
    before: tuple[int, str],
    protections: dict[str, str],
) -> None:
    with context.step("look at the recovered side"):
        result.survivors = _survivors(server)
        _compare_data(result, before, server)
        result.security = _parity(protections, _protections(server), server)


def _survivors(server: PrivateCluster) -> set[int]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT number FROM markers").fetchall()}


def _compare_data(result: DrillResult, before: tuple[int, str], server: PrivateCluster) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        after = _checksum(connection)
    result.data_passed = after == before
    result.data_check = f"{before[0]} rows by count and checksum"
    if after != before:
        result.differences.append(f"{after[0]} rows with another checksum, {before[0]} were there")


def _protections(server: PrivateCluster) -> dict[str, str]:
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


def _parity(before: dict[str, str], after: dict[str, str], server: PrivateCluster) -> dict[str, bool]:
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


def _archived(server: PrivateCluster) -> int:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT archived_count FROM pg_stat_archiver").fetchone()
    return int(found[0]) if found else 0


def _in_recovery(server: PrivateCluster) -> bool:
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            found = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    except psycopg.Error:
        return True
    return bool(found is None or found[0])
