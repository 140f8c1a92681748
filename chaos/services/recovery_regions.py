"""Rehearsals with more than one place: a region is lost whole, and a failover is tried where nobody is served."""

import time
from dataclasses import replace

import psycopg
from psycopg.conninfo import make_conninfo

from chaos.domain.recovery_measure import Marker
from chaos.services.recovery_context import DrillContext, DrillResult
from chaos.services.recovery_pairs import Pair, start_front
from chaos.services.recovery_servers import (
    detect_and_decide,
    is_followed,
    look_at,
    open_writer,
    rehearsal_of,
    survivors_on,
    wait_for_replication,
    wait_until_it_holds,
    write_for,
)
from drivers.services.site_postgresql import PrivateCluster

COPY_FROM = 1_000_000


def rehearse_region_loss(context: DrillContext) -> DrillResult:
    """Lose a region whole, its front and its servers at one instant; the clients find the other by themselves."""
    spec = rehearsal_of(context)
    result = DrillResult(
        scope="two regions of the test's own on this host, each with a PostgreSQL server and an HAProxy",
        witness="markers through whichever region takes writes, read back from the region that is left",
    )
    with context.step("put up two regions"):
        pair = Pair.start(context, spec)
        lost, left = pair.primary, pair.standby
        fronts = [
            start_front(context, context.folder / f"front-{name}", {name: server.port}, active=name)
            for name, server in (("a", lost), ("b", left))
        ]
    # The driver's own list of hosts: the first one that takes writes is used, as clients of two regions do.
    dsn = make_conninfo(
        lost.dsn(),
        host="127.0.0.1,127.0.0.1",
        port=",".join(str(front.port) for front in fronts),
        target_session_attrs="read-write",
    )
    writer = open_writer(context, dsn, "region-loss")
    with context.step("write markers"):
        write_for(writer, spec)
    with context.step("lose the region"):
        pair.kill_primary(result, fronts[0])
    detect_and_decide(context, result, lost)
    with context.step("promote the region that is left"):
        left.promote()
        result.end_part("promote")
    wait_until_it_holds(context, result, writer)
    look_at(context, result, left, pair.filled, pair.protections)
    result.more["replication_delay_s"] = spec.replication_delay.total_seconds()
    return result


def rehearse_test_failover(context: DrillContext) -> DrillResult:
    """Promote a copy of the standby where nobody is served, while replication and clients go on; then take it away.

    The clean-up belongs to the test: what is left of the copy makes the verdict dirty.
    """
    spec = rehearsal_of(context)
    result = DrillResult(
        scope="a copy of a standby, cut off, on this host; primary, standby and clients of the test's own go on",
        witness="markers of the clients, read back from the copy, and markers into the copy alone",
    )
    with context.step("put up primary, standby and HAProxy"):
        pair = Pair.start(context, spec, slow=False)
        primary, standby = pair.primary, pair.standby
        copy = PrivateCluster(context.folder / "isolated")
        context.owe(copy.remove)
        front = start_front(context, context.folder, {"a": primary.port}, active="a")
    clients = open_writer(context, primary.dsn(port=front.port), "clients")
    with context.step("write markers"):
        write_for(clients, spec)
    with context.step("copy the standby and cut the copy off"):
        copy.clone_from(standby)
        copy.configure("primary_conninfo = ''", "primary_slot_name = ''")
        result.fault(at=time.monotonic())
    result.end_part("detect")
    result.end_part("decide")
    inside = open_writer(context, copy.dsn(), "isolated", base=COPY_FROM)
    with context.step("start and promote the copy"):
        copy.start()
        copy.promote()
        result.end_part("promote")
    wait_until_it_holds(context, result, inside)
    isolated = [replace(one, number=one.number + COPY_FROM) for one in result.markers]
    look_at(context, result, copy, pair.filled, pair.protections)
    served = clients.stop()
    with context.step("look whether anybody noticed"):
        _look_at_the_served(result, primary, standby, served)
    with context.step("take the copy away"):
        copy.remove()
        result.left = [str(one) for one in copy.processes()] + [str(path) for path in [copy.folder] if path.exists()]
    # The clients go on after the cut, on the primary: what they wrote then was never meant to be on the copy.
    result.markers = [one for one in served if (one.answered or one.sent) <= result.fault_at] + isolated
    return result


def _look_at_the_served(
    result: DrillResult, primary: PrivateCluster, standby: PrivateCluster, served: list[Marker]
) -> None:
    failed = sum(one.acknowledged is not True for one in served)
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_replication").fetchone()
    followers = row[0] if row else 0
    wait_for_replication(primary, standby)
    leaked = {number for number in survivors_on(primary) | survivors_on(standby) if number >= COPY_FROM}
    result.more |= {"markers_of_clients_that_failed": failed, "rows_of_the_copy_elsewhere": len(leaked)}
    if failed:
        result.differences.append(f"{failed} writes of the clients failed while the copy was tried")
    if leaked:
        result.differences.append(f"{len(leaked)} rows of the copy are on the servers that serve")
    if followers != 1 or not is_followed(primary):
        result.differences.append("the standby no longer follows, or something else does")
    result.data_passed = bool(result.data_passed) and not result.differences
