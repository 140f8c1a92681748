"""Recovery tests: as code, on a calendar, asked for, carried out, judged, recorded."""

import hashlib
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from cronsim import CronSim, CronSimError
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from accounts.data import Capability, Principal, system_principal
from accounts.selectors import name_of, names_of
from accounts.services import ensure_may
from catalog.data import ActivityKind
from catalog.selectors import service_by_slug
from catalog.services import start_activity
from chaos.data import RunState
from chaos.domain.recovery_documents import Kind, RecoveryTestDocument, RecoveryTestSpec
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.recovery_selectors import spec_of_run, spec_of_test
from chaos.selectors import experiment_by_slug
from chaos.services.recovery_guards import ask_recovery_guards, unmeasurable
from core.clock import database_now
from core.detached import start_detached
from core.identifiers import new_id
from core.parsing import LineIndex, parse_document, refuse
from core.work import wake
from ledger.data.chaos import GuardAnswer
from ledger.data.recovery import RecoveryTestDeclared, RecoveryTestStarted
from ledger.services import record

START_QUEUE = "recovery.start"
SCHEDULER = system_principal("recovery-schedule")
MAX_TURNS = 1000


class RecoveryRefusedError(PermissionDenied):
    """The test does not start, or a step does not count; the message says why."""


@transaction.atomic
def apply_recovery_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "recovery"
) -> list[str]:
    """Create or update recovery tests, all or nothing; returns those that changed. Raises InputRefusedError."""
    changed = []
    for data, lines in documents:
        document = parse_document(RecoveryTestDocument, data, source=source, lines=lines)
        if _apply(principal, document, data, f"{source} {document.metadata.name}"):
            changed.append(document.metadata.name)
    return changed


def _apply(principal: Principal, document: RecoveryTestDocument, data: Any, where: str) -> bool:
    spec = document.spec
    service = service_by_slug(slug=spec.service)
    if service is None:
        raise refuse(f"{where} spec.service", found=spec.service, allowed="the slug of a service is allowed")
    ensure_may(principal, Capability.CHAOS_EDIT, team_id=service.team_id)
    if problem := unmeasurable(spec, rto=service.rto, rpo=service.rpo):
        raise refuse(f"{where} spec.probe", found=problem, allowed="look more finely, or promise what can be measured")
    if spec.loss is not None and experiment_by_slug(slug=spec.loss.experiment) is None:
        raise refuse(f"{where} spec.loss.experiment", found=spec.loss.experiment, allowed="the name of an experiment")
    now = database_now()
    next_due = next_turn(spec, after=now, seed=document.metadata.name, where=f"{where} spec.schedule")
    digest = hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()
    known = RecoveryTest.objects.filter(slug=document.metadata.name).first()
    if known is not None and known.sha256 == digest:
        return False
    RecoveryTest.objects.update_or_create(
        slug=document.metadata.name,
        defaults={
            "title": document.metadata.title or document.metadata.name,
            "service": service,
            "kind": spec.kind,
            "definition": data,
            "sha256": digest,
            "author": principal.reference,
            "changed_at": now,
            "next_due_at": next_due,
        },
    )
    schedule = f"{spec.schedule.cron} {spec.schedule.zone}" if spec.schedule else "by hand"
    record(
        RecoveryTestDeclared(
            test=document.metadata.name,
            kind=spec.kind,
            service=spec.service,
            definition_sha256=digest,
            schedule=schedule,
            declared_at=now,
        ),
        actor=principal.reference,
        subject=f"recovery-test:{document.metadata.name}",
    )
    return True


def next_turn(spec: RecoveryTestSpec, *, after: datetime, seed: str, where: str = "spec.schedule") -> datetime | None:
    """Return when the test is due next, or None when only by hand. Raises InputRefusedError.

    The jitter of a turn is reckoned from the test's name and the turn's time, so that it stays what it is.
    """
    if spec.schedule is None:
        return None
    try:
        zone = ZoneInfo(spec.schedule.zone)
        turn: datetime = next(CronSim(spec.schedule.cron, after.astimezone(zone)))
    except ZoneInfoNotFoundError:
        raise refuse(f"{where}.zone", found=spec.schedule.zone, allowed="a zone as Europe/Berlin is allowed") from None
    except (CronSimError, StopIteration):
        raise refuse(
            f"{where}.cron", found=spec.schedule.cron, allowed="five fields of cron that have a next turn"
        ) from None
    digest = hashlib.sha256(f"{seed} {turn.isoformat()}".encode()).digest()
    return turn + spec.schedule.jitter * (int.from_bytes(digest[:8], "big") / 2**64)


@transaction.atomic
def request_recovery_run(*, principal: Principal, test: RecoveryTest) -> RecoveryTestRun:
    """Ask every guard and, if all agree, for a run of a test as it stands now.

    Raises RecoveryRefusedError, PermissionDenied.
    """
    ensure_may(principal, Capability.CHAOS_RUN, team_id=test.service.team_id)
    spec, now = spec_of_test(test), database_now()
    experiment = experiment_by_slug(slug=spec.loss.experiment) if spec.loss else None
    for service in experiment.services.all() if experiment else ():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
    guards = ask_recovery_guards(test, spec, now=now, scheduled=principal == SCHEDULER)
    if refused := [f"{one.guard}: {one.reason}" for one in guards if not one.allowed]:
        raise RecoveryRefusedError(f"Refused. {'; '.join(refused)}.")
    by_people = spec.kind is Kind.TABLETOP
    try:
        with transaction.atomic():
            run = RecoveryTestRun.objects.create(
                reference=new_id("drt"),
                test=test,
                definition=test.definition,
                definition_sha256=test.sha256,
                requested_by=principal.reference,
                requested_at=now,
                due_at=now,
                rto=test.service.rto,
                rpo=test.service.rpo,
                guards=[vars(one) for one in guards],
                state=RunState.RUNNING if by_people else RunState.STARTING,
                started_at=now if by_people else None,
                finished_at=now if by_people else None,
            )
    except IntegrityError:
        raise RecoveryRefusedError("Refused. alone: a run of this test is going on.") from None
    record(
        RecoveryTestStarted(
            test=test.slug,
            run=run.reference,
            kind=spec.kind,
            service=test.service.slug,
            definition_sha256=test.sha256,
            guards=[GuardAnswer(**vars(one)) for one in guards],
            requested_at=now,
        ),
        actor=principal.reference,
        subject=f"recovery-test:{test.slug}",
    )
    if spec.kind is not Kind.DEPENDENCY_LOSS:
        declare_activity(run)
    if not by_people:
        wake(START_QUEUE)
    return run


def declare_activity(run: RecoveryTestRun) -> None:
    """Say on the service's time axis that the run goes on since it was asked for."""
    start_activity(
        kind=ActivityKind.DR_TEST,
        source_key=run.source_key,
        title=str(run.test),
        url=run.get_absolute_url(),
        service_ids=[run.test.service_id],
        started_at=run.requested_at,
    )


def start_recovery_runner(run: RecoveryTestRun) -> None:
    """Start the process that carries a run out, in a session of its own."""
    if run.state != RunState.STARTING:
        return
    log = settings.STATE_DIR / "log"
    log.mkdir(parents=True, exist_ok=True)
    start_detached(
        [sys.executable, "manage.py", "dr", "carry-out", run.reference],
        folder=settings.BASE_DIR,
        log=log / "recovery-runner.log",
    )


def start_due_tests() -> int:
    """Ask for a run of each test whose turn has come; returns how many. Turns that were missed are counted, not run."""
    now = database_now()
    started = 0
    for test in RecoveryTest.objects.filter(next_due_at__lte=now).select_related("service"):
        spec = spec_of_test(test)
        due = test.next_due_at
        missed = 0
        while due is not None and due <= now and missed < MAX_TURNS:
            missed += 1
            due = next_turn(spec, after=due, seed=test.slug)
        if due is not None and due <= now:
            due = next_turn(spec, after=now, seed=test.slug)
        # Whoever moves the turn on has taken it: two workers do not start one turn twice.
        if not RecoveryTest.objects.filter(pk=test.pk, next_due_at=test.next_due_at).update(next_due_at=due):
            continue
        try:
            request_recovery_run(principal=SCHEDULER, test=test)
            missed -= 1
            started += 1
            refusal = ""
        except RecoveryRefusedError as error:
            refusal = str(error)
        RecoveryTest.objects.filter(pk=test.pk).update(missed=test.missed + missed, last_refusal=refusal)
    return started


@transaction.atomic
def record_decision(*, principal: Principal, run: RecoveryTestRun, number: int, decision: str) -> bool:
    """Write down what a tabletop's people decided, with its time; returns whether it was still open.

    Raises RecoveryRefusedError when there is no such question or the run has ended.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=run.test.service.team_id)
    locked = RecoveryTestRun.objects.select_for_update().get(pk=run.pk)
    spec = spec_of_run(locked)
    if locked.state != RunState.RUNNING or not 0 <= number < len(spec.decisions) or locked.started_at is None:
        raise RecoveryRefusedError("There is no such question to decide now.")
    absent = spec.decisions[number].absent
    if absent and _is_called(principal, absent):
        raise RecoveryRefusedError(f"{absent} may not be asked: the test is whether others can decide this.")
    decided = dict(locked.result.get("decided", {}))
    if str(number) in decided:
        return False
    now = database_now()
    decided[str(number)] = {
        "decision": decision[:500],
        "by": principal.reference,
        "seconds": round((now - locked.started_at).total_seconds(), 1),
        "within_seconds": spec.decisions[number].within.total_seconds(),
    }
    locked.result = {**locked.result, "decided": decided}
    locked.save(update_fields=["result"])
    run.result = locked.result
    return True


def _is_called(principal: Principal, name: str) -> bool:
    """Say whether a person has this name or user name."""
    known = {name_of(principal.reference), *(one.removeprefix("user:") for one in names_of(principal=principal))}
    return name.casefold() in {one.casefold() for one in known}
