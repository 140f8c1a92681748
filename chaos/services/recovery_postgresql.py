"""PostgreSQL rehearsals: failover and failback behind HAProxy, and a base backup with its write-ahead log.

The servers, the proxy and the data are the test's own, on this host; the kill, the promotion, the lost rows and the
times are real.
"""

import shutil
import time
from collections.abc import Callable
from typing import Any

import psycopg

from chaos.domain.recovery_documents import Kind
from chaos.domain.recovery_measure import measure
from chaos.services.recovery_context import DrillContext, DrillError, DrillResult
from chaos.services.recovery_front import Front
from chaos.services.recovery_markers import MarkerWriter
from chaos.services.recovery_pairs import Pair, start_front
from chaos.services.recovery_regions import rehearse_region_loss, rehearse_test_failover
from chaos.services.recovery_servers import (
    CATCH_UP_SECONDS,
    detect_and_decide,
    fill,
    is_recovering,
    last_archived_by,
    look_at,
    open_writer,
    protections_of,
    rehearsal_of,
    survivors_on,
    wait_for_replication,
    wait_until_archived,
    wait_until_it_holds,
    write_for,
)
from drivers.services.site_database import SiteError
from drivers.services.site_postgresql import PrivateCluster, wait_until

ARCHIVE_TIMEOUT = "2s"
FAILBACK_FROM = 1_000_000


def rehearse_failover(context: DrillContext) -> DrillResult:
    """Kill a primary under load, promote its standby, move clients over; then fail back, without losing a row."""
    spec = rehearsal_of(context)
    result = DrillResult(
        scope="primary, standby and HAProxy of the test's own on this host",
        witness="markers through HAProxy, read back from the promoted server",
    )
    with context.step("put up primary, standby and HAProxy"):
        pair = Pair.start(context, spec, "wal_log_hints = on")
        primary, standby = pair.primary, pair.standby
        front = start_front(context, context.folder, {"a": primary.port, "b": standby.port}, active="a")
    writer = open_writer(context, primary.dsn(port=front.port), "failover")
    with context.step("write markers"):
        write_for(writer, spec)
    with context.step("kill the primary"):
        pair.kill_primary(result)
    detect_and_decide(context, result, primary)
    with context.step("promote the standby"):
        standby.promote()
        result.end_part("promote")
    with context.step("move the clients over"):
        front.switch(away_from="a", to="b")
    wait_until_it_holds(context, result, writer)
    look_at(context, result, standby, pair.filled, pair.protections)
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
        wait_for_replication(new, old)
    writer = open_writer(context, new.dsn(port=front.port), "failback", base=FAILBACK_FROM)
    with context.step("hand over"):
        writer.wait_for_acknowledged(10, give_up_after=CATCH_UP_SECONDS)
        started = time.monotonic()
        front.close_server("b")
        wait_for_replication(new, old)
        new.stop()
        old.promote()
        front.open_server("a")
        held = writer.wait_until_sustained(after=started, seconds=1.0, give_up_after=CATCH_UP_SECONDS)
    markers = writer.stop()
    found = measure(
        markers, {number - FAILBACK_FROM for number in survivors_on(old)}, fault_at=started, fault_done=started
    )
    return {
        "recovered": held,
        "outage_s": None if found.client_outage is None else round(found.client_outage, 3),
        "acknowledged_rows": found.acknowledged,
        "lost_rows": len(found.lost),
        "ambiguous_rows": len(found.ambiguous),
    }


def rehearse_point_in_time(context: DrillContext) -> DrillResult:
    """Lose a server that archives its log; rebuild it from base backup and archive, to the end and to an instant."""
    spec, probe = rehearsal_of(context), context.spec.probe
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
        before = fill(original, spec.rows)
        rebuilt.clone_from(original, follow=False)
        rebuilt.run_program("pg_verifybackup", str(rebuilt.data))
        step["detail"] = "base backup verified by its manifest"
        front = Front(context.folder, {"a": original.port, "b": rebuilt.port})
        context.owe(front.stop)
        front.start(active="a")
    protections = protections_of(original)
    writer = open_writer(context, original.dsn(port=front.port), "point-in-time")
    with context.step("write markers"):
        write_for(writer, spec)
        wait_until_archived(original)
    target = ["recovery_target_timeline = 'latest'"]
    if spec.to == "accident":
        instant = _cause_accident(context, result, original, writer)
        target += [f"recovery_target_time = '{instant}'", "recovery_target_inclusive = off",
                   "recovery_target_action = 'promote'"]  # fmt: skip
    else:
        with context.step("kill the server"):
            began = time.monotonic()
            original.kill()
            result.fault(at=began)
        detect_and_decide(context, result, original)
    with context.step("replay base backup and archive") as step:
        rebuilt.configure(f"restore_command = 'cp {archive}/%f %p'", "archive_mode = off", *target)
        rebuilt.ask_to_recover()
        rebuilt.start()
        if not wait_until(lambda: not is_recovering(rebuilt), seconds=probe.give_up_after.total_seconds()):
            raise DrillError("the rebuilt server did not leave recovery")
        result.end_part("restore")
        step["detail"] = "to the end of the archive" if spec.to == "end" else f"to {instant}, just before the accident"
    with context.step("move the clients over"):
        front.switch(away_from="a", to="b")
    wait_until_it_holds(context, result, writer)
    look_at(context, result, rebuilt, before, protections)
    result.more["archive_timeout"] = ARCHIVE_TIMEOUT
    if spec.to == "accident":
        result.more["replayed_to"] = instant
    return result


def _cause_accident(context: DrillContext, result: DrillResult, server: PrivateCluster, writer: MarkerWriter) -> str:
    """Delete every order by mistake, notice it once the archive holds it, stop the server; returns the instant before.

    Nobody notices at once: clients go on writing, and what they write until then is lost with the mistake.

    A standby would have followed faithfully: only the archive goes back to before the mistake.
    """
    with context.step("delete every order by mistake") as step:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            began = time.monotonic()
            deleted = connection.execute("DELETE FROM orders").rowcount
            found = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        if row is None or found is None:
            raise DrillError("the server did not say when it was")
        if not wait_until(lambda: last_archived_by(server) >= found[0], seconds=CATCH_UP_SECONDS):
            raise DrillError("the accident did not reach the archive")
        write_for(writer, rehearsal_of(context))
        server.stop()
        result.fault(at=began)
        step["detail"] = f"{deleted} orders gone"
    result.end_part("detect")
    result.end_part("decide")
    return str(row[0].isoformat(" "))


DRILLS: dict[Kind, Callable[[DrillContext], DrillResult]] = {
    Kind.FAILOVER: rehearse_failover,
    Kind.POINT_IN_TIME: rehearse_point_in_time,
    Kind.REGION_LOSS: rehearse_region_loss,
    Kind.TEST_FAILOVER: rehearse_test_failover,
}
