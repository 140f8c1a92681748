"""The first recovery test: Assay's own backup, restored into an isolated place and served there."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import requests
from django.conf import settings
from django.db import connection

from accounts.data import system_principal
from chaos.domain.recovery_documents import Kind, ProbeSpec
from chaos.domain.recovery_measure import Marker
from chaos.recovery_models import RecoveryMarker
from chaos.services.recovery_context import DrillContext, DrillError, DrillResult
from chaos.services.recovery_markers import MarkerWriter
from core.clock import database_now
from core.http import guarded_session
from drivers.services.site_backup import BackupReport, back_up, inspect_backup, write_key
from drivers.services.site_database import SiteError, engine_name
from drivers.services.site_postgresql import PrivateCluster, free_port

ACTOR = system_principal("recovery-test")
LOOPBACK = "127.0.0.1/32"
PROBES_FROM = 1_000_000
DETECT_AFTER = 3
MARKERS_AROUND = 5
WAIT_SECONDS = 60.0
RESTORE_SECONDS = 900


def rehearse_site_restore(context: DrillContext) -> DrillResult:
    """Back the running site up while markers are written, give it up, restore it elsewhere, serve it, look at it.

    Lost are the markers that were acknowledged after the backup's instant. The recovery point so measured is that of a
    backup made just before the loss; how old a backup is in earnest depends on how often one is made.
    """
    probe, run = context.spec.probe, context.run
    result = DrillResult(
        scope="backup of this site, restored into an isolated place on this host",
        witness="markers through the site's database; HTTP probes of the restored site",
    )
    key_file = context.folder / "key"
    key = write_key(key_file)
    with context.step("write markers, then back up") as step:
        before = MarkerWriter(_marker_of(run.reference), probe.cadence, account=context.folder / "written.jsonl")
        before.start()
        try:
            _await_markers(before)
            report = _back_up(context.folder / "site.assay", key)
            step["detail"] = f"{report.size} bytes, {report.manifest.rows} rows, log at {_log_size(report)}"
            _await_markers(before)
        finally:
            markers = before.stop()
    result.fault(at=time.monotonic())
    port = free_port()
    probes = MarkerWriter(_probe_of(port, probe), probe.cadence, account=context.folder / "probes.jsonl")
    probes.start()
    try:
        said, environment, held = _recover(context, result, probes, key_file, port)
    finally:
        answered = [_renumbered(one) for one in probes.stop()]
    with context.step("look at the restored side"):
        survivors = _markers_in(environment, run.reference)
        result.differences = [*said["differences"], *said["ledger_problems"]]
        result.data_passed = not result.differences
        result.data_check = (
            f"{said['tables']} tables by row count and SHA-256, {said['artifacts']} artifacts, ledger verified "
            f"from entry 0 to {said['ledger_size']}, continuing from the checkpoint at {said['checkpoint_size']}"
        )
        if held:
            result.security = _security(port, environment)
    result.markers = [*markers, *answered]
    result.survivors = survivors | {one.number for one in answered if one.acknowledged}
    result.more = {"backup": said["backup"], "backup_bytes": report.size, "rows_restored": said["rows"]}
    return result


def _recover(
    context: DrillContext, result: DrillResult, probes: MarkerWriter, key_file: Path, port: int
) -> tuple[dict[str, Any], dict[str, str], bool]:
    """Detect, restore, serve; returns what the restore said, the isolated environment, and whether it held."""
    probe = context.spec.probe
    with context.step("detect"):
        _wait(lambda: sum(one.acknowledged is not True for one in probes.markers() if one.answered) >= DETECT_AFTER)
        result.end_part("detect")
        result.end_part("decide")
    with context.step("restore") as step:
        environment = _isolated_environment(context, port)
        said = _restore(context.folder / "site.assay", key_file, environment)
        result.end_part("restore")
        step["detail"] = f"{said['rows']} rows, log at {said['ledger_size']}"
    with context.step("serve and wait until it holds"):
        _serve(context, port, environment)
        held = probes.wait_until_sustained(
            after=result.fault_done,
            seconds=probe.sustained_for.total_seconds(),
            give_up_after=probe.give_up_after.total_seconds(),
        )
    return said, environment, held


def check_a_backup(context: DrillContext) -> DrillResult:
    """Make a backup and read it from end to end; nothing is restored, so no time is measured."""
    result = DrillResult(scope="backup of this site, read to its end", witness="the backup's own digests")
    key = write_key(context.folder / "key")
    with context.step("back up"):
        report = _back_up(context.folder / "site.assay", key)
    with context.step("read from end to end") as step:
        found = inspect_backup(source=report.path, key=key)
        step["detail"] = f"{len(found.manifest.members)} files, {found.size} bytes"
    result.differences = [f"artifact {digest} was gone" for digest in found.manifest.artifacts_missing]
    result.data_passed = not result.differences and found.sha256 == report.sha256
    result.data_check = f"{len(found.manifest.members)} files by SHA-256, {found.manifest.rows} rows listed"
    return result


DRILLS: dict[Kind, Callable[[DrillContext], DrillResult]] = {
    Kind.BACKUP_RESTORE: rehearse_site_restore,
    Kind.BACKUP_INTEGRITY: check_a_backup,
}


def _marker_of(reference: str) -> Callable[[int], None]:
    def write(number: int) -> None:
        try:
            RecoveryMarker.objects.create(run=reference, number=number, written_at=database_now())
        finally:
            connection.close()

    return write


def _await_markers(writer: MarkerWriter) -> None:
    if not writer.wait_for_acknowledged(MARKERS_AROUND, give_up_after=WAIT_SECONDS):
        raise DrillError("the site's database did not acknowledge the markers")


def _probe_of(port: int, probe: ProbeSpec) -> Callable[[int], None]:
    def ask(_: int) -> None:
        with guarded_session(allow=[LOOPBACK], timeout_seconds=probe.cadence.timeout) as session:
            answer = session.get(f"http://127.0.0.1:{port}/readyz")
            if answer.status_code != requests.codes.ok:
                raise DrillError(f"the restored site answers {answer.status_code}")

    return ask


def _renumbered(marker: Marker) -> Marker:
    return Marker(marker.number + PROBES_FROM, marker.sent, marker.answered, marker.acknowledged)


def _back_up(target: Path, key: Any) -> BackupReport:
    try:
        return back_up(principal=ACTOR, target=target, key=key)
    except SiteError as error:
        raise DrillError(str(error)) from None


def _log_size(report: BackupReport) -> int:
    return report.manifest.ledger.size if report.manifest.ledger else 0


def _isolated_environment(context: DrillContext, port: int) -> dict[str, str]:
    """Return an environment in which nothing of the original is reached: own folder, database, broker, address."""
    kept = {name: value for name, value in os.environ.items() if name not in {"BROKER_URL", "ARTIFACT_STORE_URL"}}
    database_url = ""
    if engine_name() == "postgresql":
        cluster = PrivateCluster(context.folder / "postgresql")
        context.owe(cluster.remove)
        try:
            cluster.create()
            cluster.start()
        except SiteError as error:
            raise DrillError(f"no isolated PostgreSQL: {error}") from None
        database_url = f"{cluster.url()}?sslmode=require"
    return {
        **kept,
        "ASSAY_STATE_DIR": str(context.folder / "site"),
        "DATABASE_URL": database_url,
        "ASSAY_SITE_URL": f"http://127.0.0.1:{port}",
        "ASSAY_EMAIL_URL": "",
        "ASSAY_OUTBOUND_ALLOW": "",
        "ASSAY_LOG_LEVEL": "ERROR",
        "PORT": str(port),
    }


def _restore(backup: Path, key_file: Path, environment: dict[str, str]) -> dict[str, Any]:
    command = ["manage.py", "site", "restore", str(backup), "--key-file", str(key_file), "--format", "json"]
    done = subprocess.run(  # noqa: S603 this program's own command
        [sys.executable, *command],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RESTORE_SECONDS,
        check=False,
    )
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines()
        raise DrillError(f"the restore broke off: {lines[-1] if lines else done.returncode}") from None
    return said


def _serve(context: DrillContext, port: int, environment: dict[str, str]) -> None:
    command = ["-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (context.folder / "web.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 this program's own web server
            [sys.executable, *command, "--blocking-threads", "4", "--no-ws", "config.wsgi:application"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    context.owe(end)


def _markers_in(environment: dict[str, str], reference: str) -> set[int]:
    """Read the surviving markers from the restored database itself, past the restored site."""
    if url := environment["DATABASE_URL"]:
        with psycopg.connect(url) as link:
            found = link.execute("SELECT number FROM chaos_recoverymarker WHERE run = %s", (reference,)).fetchall()
    else:
        path = Path(environment["ASSAY_STATE_DIR"]) / "assay.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT number FROM chaos_recoverymarker WHERE run = ?", (reference,)).fetchall()
    return {row[0] for row in found}


def _security(port: int, environment: dict[str, str]) -> dict[str, bool]:
    """Ask whether the restored side protects as the original does: each answer by trying, not by reading a setting."""
    base = f"http://127.0.0.1:{port}"
    with guarded_session(allow=[LOOPBACK], timeout_seconds=10.0) as session:
        stranger = session.get(f"{base}/api/v1/ledger/entries/")
        made_up = session.get(f"{base}/api/v1/ledger/entries/", headers={"Authorization": "Bearer made-up"})
        front = session.get(f"{base}/sign-in/")
        page = session.get(f"{base}/")
    return {
        "a stranger is refused": stranger.status_code in {401, 403},
        "a made-up token is refused": made_up.status_code in {401, 403},
        "pages ask to sign in": page.status_code in {302, 401, 403},
        "content security policy is sent": "Content-Security-Policy" in front.headers,
        "the ledger refuses changes": _ledger_refuses(environment),
        "nothing leaves: it is held": _is_held(environment),
    }


def _ledger_refuses(environment: dict[str, str]) -> bool:
    change = "UPDATE ledger_ledgerentry SET actor = 'somebody else'"
    try:
        _on_restored(environment, change)
    except (sqlite3.DatabaseError, psycopg.DatabaseError) as error:
        return "append-only" in str(error)
    return False


def _is_held(environment: dict[str, str]) -> bool:
    return bool(_on_restored(environment, "SELECT COUNT(*) FROM core_sitehold WHERE released_at IS NULL")[0][0])


def _on_restored(environment: dict[str, str], statement: str) -> list[Any]:
    if url := environment["DATABASE_URL"]:
        with psycopg.connect(url) as link:
            cursor = link.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(Path(environment["ASSAY_STATE_DIR"]) / "assay.sqlite3", timeout=10)) as database:
        return database.execute(statement).fetchall()


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.02)
