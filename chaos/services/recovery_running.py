"""Carry a recovery test out, judge it, record it; and clean up after a runner that died."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from catalog.services import end_activity
from chaos.data import RunState, Verdict
from chaos.domain.recovery_documents import Kind, RecoveryTestSpec
from chaos.domain.recovery_measure import Findings, Measured, judge, measure, parts_until
from chaos.domain.recovery_trend import Worsening, worsened
from chaos.recovery_models import RecoveryMarker, RecoveryTestRun
from chaos.recovery_selectors import live_recovery_runs, spec_of_run
from chaos.services import recovery_dependency, recovery_postgresql, recovery_site
from chaos.services.recovery import declare_activity
from chaos.services.recovery_context import DrillContext, DrillError, DrillRefusedError, DrillResult, sweep
from chaos.services.recovery_findings import follow_up
from core.clock import database_now
from drivers.services.site_database import SiteError
from ledger.data.recovery import RecoveryTestFinished
from ledger.services import record, store_artifact

logger = logging.getLogger(__name__)

REAPER = system_principal("recovery-reaper")
BEAT = 2.0
DEAD_AFTER = timedelta(seconds=30)
START_WITHIN = timedelta(seconds=120)
COMPARED_RUNS = 10
MOST_DIFFERENCES = 20
DRILLS = {**recovery_site.DRILLS, **recovery_postgresql.DRILLS, **recovery_dependency.DRILLS}


def carry_out(run: RecoveryTestRun) -> bool:
    """Carry a run out to its end in this process; returns whether it was there to be carried out.

    1. Claim it by its state: a second runner does nothing.
    2. Carry the drill out, with a heartbeat; whatever happens, remove what was put up, and look whether it is gone.
    3. Judge, and record in one transaction.
    """
    now = database_now()
    claimed = RecoveryTestRun.objects.filter(pk=run.pk, state=RunState.STARTING).update(
        state=RunState.RUNNING, started_at=now, heartbeat_at=now, finished_at=now
    )
    if not claimed:
        return False
    run.refresh_from_db()
    spec = spec_of_run(run)
    problem, refused = "", ""
    result: DrillResult | None = None
    context = DrillContext(run, spec)
    with _heartbeat(run):
        try:
            result = DRILLS[spec.kind](context)
        except DrillRefusedError as error:
            refused = str(error)
        except (DrillError, SiteError) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 whatever broke, the run ends with a verdict and is cleaned up
            problem = f"{type(error).__name__}: {error}"
        accounts: list[str] = []
        try:
            accounts = _keep_accounts(context, result)
        except Exception as error:  # noqa: BLE001 what cannot be kept must not keep anything from being removed
            problem = problem or f"what was measured could not be kept: {error}"
        left = [*(result.left if result else []), *context.clean_up()]
        RecoveryMarker.objects.filter(run=run.reference).delete()
    finish_recovery_run(
        run, spec=spec, result=result, problem=problem or refused, left=left, artifacts=accounts, refused=refused
    )
    return True


@contextmanager
def _heartbeat(run: RecoveryTestRun) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        try:
            while not stop.wait(BEAT):
                RecoveryTestRun.objects.filter(pk=run.pk).update(heartbeat_at=database_now())
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_accounts(context: DrillContext, result: DrillResult | None) -> list[str]:
    """Keep the client's own account of its writes, and what it is compared with, before the folder goes.

    With both, anybody can reckon the figures anew.
    """
    reference = context.run.reference
    kept = [
        store_artifact(path.read_bytes(), media_type="application/x-ndjson", name=f"{reference}-{path.name}")
        for path in sorted(context.folder.glob("*.jsonl"))
    ]
    if result is not None and result.markers:
        facts = {
            "fault_at": result.fault_at,
            "fault_done": result.fault_done,
            "every": context.spec.probe.cadence.every,
            "timeout": context.spec.probe.cadence.timeout,
            "survivors": sorted(result.survivors),
        }
        kept.append(
            store_artifact(
                json.dumps(facts).encode(), media_type="application/json", name=f"{reference}-measurement.json"
            )
        )
    return kept


@transaction.atomic
def finish_recovery_run(
    run: RecoveryTestRun,
    *,
    spec: RecoveryTestSpec,
    result: DrillResult | None,
    problem: str = "",
    left: list[str] | None = None,
    artifacts: list[str] | None = None,
    aborted: str = "",
    refused: str = "",
) -> None:
    """End a run with its verdict, once: ledger entry, activity, follow-up."""
    now = database_now()
    measured = _measured(spec, result)
    verdict, reason = _verdict(run, spec, result, measured, problem=problem, left=left or [])
    if aborted and verdict != Verdict.DIRTY:
        verdict, reason = Verdict.ABORTED, aborted
    if refused and verdict != Verdict.DIRTY:
        verdict, reason = Verdict.REFUSED, refused
    answer = {**run.result, **as_json(run, spec, result, measured), "verdict": str(verdict), "reason": reason}
    answer["clean_up"] = "; ".join(left or []) or "nothing is left"
    answer["regression"] = str(worse) if (worse := _regression(run, spec, measured)) else ""
    ended = (
        RecoveryTestRun.objects.filter(pk=run.pk)
        .exclude(state=RunState.FINISHED)
        .update(
            state=RunState.FINISHED,
            verdict=verdict,
            reason=reason,
            ended_at=now,
            finished_at=now,
            result=answer,
            steps=run.steps,
            folder=run.folder if verdict == Verdict.DIRTY else "",
        )
    )
    if not ended:
        return
    run.refresh_from_db()
    _record(run, spec, result, measured, artifacts=artifacts or [])
    if spec.kind is Kind.DEPENDENCY_LOSS:
        # While it went on, the experiment's own activity said so: this one would have held its guards back.
        declare_activity(run)
    end_activity(source_key=run.source_key, ended_at=now)
    follow_up(run)


def _regression(run: RecoveryTestRun, spec: RecoveryTestSpec, measured: Measured | None) -> Worsening | None:
    if measured is None or measured.sustained is None:
        return None
    earlier = run.test.runs.filter(state=RunState.FINISHED, ended_at__isnull=False).order_by("-ended_at")[
        :COMPARED_RUNS
    ]
    times = [one.result["rto_sustained_s"] for one in earlier if one.result.get("rto_sustained_s") is not None]
    return worsened(times, measured.sustained, resolution=spec.probe.cadence.resolution)


def _measured(spec: RecoveryTestSpec, result: DrillResult | None) -> Measured | None:
    if result is None or not result.markers:
        return None
    found = measure(
        result.markers,
        result.survivors,
        fault_at=result.fault_at,
        fault_done=result.fault_done,
        settle=spec.probe.sustained_for.total_seconds(),
    )
    if found.first_success is not None and result.parts:
        result.parts = parts_until(found.first_success, result.parts)
    return found if result.keeps_rows else replace(found, recovery_point=None, lost=(), ambiguous=(), holes=0)


def _verdict(
    run: RecoveryTestRun,
    spec: RecoveryTestSpec,
    result: DrillResult | None,
    measured: Measured | None,
    *,
    problem: str,
    left: list[str],
) -> tuple[Verdict, str]:
    findings = Findings(
        data_passed=result.data_passed if result else None,
        security_passed=result.security_passed if result else None,
        cleaned_up=not left,
        problem=problem,
        restores_data=result.keeps_rows if result else True,
    )
    if result is not None and not problem and not left and spec.kind in {Kind.BACKUP_INTEGRITY, Kind.TABLETOP}:
        return (Verdict.PASSED, result.data_check) if result.data_passed else (Verdict.FAILED, result.data_check)
    rto = run.rto.total_seconds() if run.rto else None
    rpo = run.rpo.total_seconds() if run.rpo and findings.restores_data else None
    word, reason = judge(measured, spec.probe.cadence, findings, rto=rto, rpo=rpo)
    return Verdict(word), reason


def as_json(
    run: RecoveryTestRun, spec: RecoveryTestSpec, result: DrillResult | None, measured: Measured | None
) -> dict[str, Any]:
    """Return what was measured under the names that scripts rely on; seconds, None where nothing was measured."""
    parts = result.parts if result else {}
    rows = result is not None and result.keeps_rows
    return {
        "run": run.reference,
        "test": run.test.slug,
        "kind": str(spec.kind),
        "service": run.test.service.slug,
        "scope": result.scope if result else "",
        "witness": result.witness if result else "",
        "rto_target_s": run.rto.total_seconds() if run.rto else None,
        "rto_first_success_s": _rounded(measured.first_success if measured else None),
        "rto_sustained_s": _rounded(measured.sustained if measured else None),
        "rpo_target_s": run.rpo.total_seconds() if run.rpo else None,
        "rpo_s": _rounded(measured.recovery_point if measured else None),
        "lost_rows": len(measured.lost) if measured and rows else None,
        "ambiguous_rows": len(measured.ambiguous) if measured and rows else None,
        "acknowledged_rows": measured.acknowledged if measured else None,
        "client_outage_s": _rounded(measured.client_outage if measured else None),
        "resolution_s": spec.probe.cadence.resolution if measured else None,
        "cadence_s": spec.probe.cadence.every,
        "timeout_s": spec.probe.cadence.timeout,
        "parts_s": {name: _rounded(seconds) for name, seconds in parts.items()},
        "data_check": result.data_check if result else "not checked",
        "data_check_passed": result.data_passed if result else None,
        "data_differences": result.differences[:MOST_DIFFERENCES] if result else [],
        "security": result.security if result else {},
        "security_passed": result.security_passed if result else None,
        "more": result.more if result else {},
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _record(
    run: RecoveryTestRun,
    spec: RecoveryTestSpec,
    result: DrillResult | None,
    measured: Measured | None,
    *,
    artifacts: list[str],
) -> None:
    said = run.result
    started, ended = run.started_at or run.requested_at, run.ended_at or run.requested_at
    record(
        RecoveryTestFinished(
            test=run.test.slug,
            run=run.reference,
            kind=spec.kind,
            service=run.test.service.slug,
            scope=said["scope"] or "broken off",
            definition_sha256=run.definition_sha256,
            rto_milliseconds=_milliseconds(said["rto_target_s"]),
            rpo_milliseconds=_milliseconds(said["rpo_target_s"]),
            recovery_time_actual_milliseconds=_milliseconds(measured.sustained if measured else None),
            first_success_milliseconds=_milliseconds(measured.first_success if measured else None),
            recovery_point_actual_milliseconds=_milliseconds(measured.recovery_point if measured else None),
            resolution_milliseconds=_milliseconds(said["resolution_s"]),
            acknowledged_rows=said["acknowledged_rows"],
            lost_rows=said["lost_rows"],
            ambiguous_rows=said["ambiguous_rows"],
            parts_milliseconds={name: round(value * 1000) for name, value in (result.parts if result else {}).items()},
            data_check=said["data_check"],
            data_check_passed=said["data_check_passed"],
            data_differences=said["data_differences"],
            security_check="; ".join(f"{name}: {'yes' if held else 'NO'}" for name, held in said["security"].items()),
            security_check_passed=said["security_passed"],
            clean_up=said["clean_up"],
            decisions=result.decisions if result else [],
            outcome=run.verdict,
            reason=run.reason,
            regression=said.get("regression", ""),
            witness=said["witness"] or "nobody",
            started_at=started,
            finished_at=ended,
        ),
        actor=run.requested_by,
        subject=f"recovery-test:{run.test.slug}",
        occurred_at=ended,
        period=(started, ended),
        artifacts=artifacts,
    )


def finish_tabletop(*, principal: Principal, run: RecoveryTestRun) -> None:
    """End a tabletop: passed when each decision was made, in its time."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=run.test.service.team_id)
    spec = spec_of_run(run)
    decided = run.result.get("decided", {})
    result = DrillResult(scope="people around a table", witness=principal.reference)
    late, open_ = [], []
    for number, question in enumerate(spec.decisions):
        answer = decided.get(str(number))
        if answer is None:
            open_.append(question.ask)
            result.decisions.append(f"{question.ask} ({question.role}): not decided")
            continue
        in_time = answer["seconds"] <= answer["within_seconds"]
        if not in_time:
            late.append(question.ask)
        result.decisions.append(
            f"{question.ask} ({question.role}): {answer['decision']}; by {answer['by']} after {answer['seconds']:g} s "
            f"of {answer['within_seconds']:g} s"
        )
    result.data_passed = not late and not open_
    result.data_check = (
        f"{len(decided)} of {len(spec.decisions)} decisions made, {len(decided) - len(late)} of them in time"
    )
    finish_recovery_run(run, spec=spec, result=result)


def reap_dead_recovery_runs() -> int:
    """Clean up after runs whose runner is dead or never came, and end them. Returns how many."""
    now = database_now()
    reaped = 0
    for run in live_recovery_runs():
        spec = spec_of_run(run)
        if spec.kind is Kind.TABLETOP:
            over = run.requested_at + timedelta(days=1) < now
            if over:
                finish_tabletop(principal=REAPER, run=run)
            continue
        silent = run.heartbeat_at is not None and run.heartbeat_at < now - DEAD_AFTER
        never_came = run.heartbeat_at is None and run.requested_at < now - START_WITHIN
        if not silent and not never_came:
            continue
        reason = "the runner died" if silent else "no runner came"
        try:
            left = sweep(Path(run.folder)) if run.folder else []
            RecoveryMarker.objects.filter(run=run.reference).delete()
            finish_recovery_run(run, spec=spec, result=None, problem=reason, left=left, aborted=reason)
        except Exception:
            # One that cannot be ended now (a full disk) must not keep the others from being cleaned up.
            logger.exception("%s: could not be ended", run)
            continue
        reaped += 1
    return reaped
