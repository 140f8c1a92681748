"""Game days: rehearsals with people, step by step and by the clock, with experiments in between."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from chaos.domain.program_documents import GameDayDocument, GameDaySpec
from chaos.models import Experiment
from chaos.program_models import GameDay, GameDaySession
from chaos.services.running import request_run
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import refuse
from ledger.data.chaos import GameDayHeld, GameDayStepRecord
from ledger.services import record

OUTCOMES = ("done", "not done", "skipped")


def game_day_spec(definition: dict[str, Any]) -> GameDaySpec:
    """Return a game day's parsed definition."""
    return GameDayDocument.model_validate(definition).spec


@transaction.atomic
def begin_game_day(*, principal: Principal, game_day: GameDay) -> GameDaySession:
    """Begin a game day with its first step. Raises InputRefusedError while one is going on."""
    _ensure_leader(principal, game_day)
    if going_on := game_day.sessions.filter(ended_at__isnull=True).first():
        raise refuse(game_day.slug, found=f"{going_on} is going on", allowed="end it first")
    session = GameDaySession.objects.create(
        reference=new_id("gday"),
        game_day=game_day,
        definition=game_day.definition,
        led_by=principal.reference,
        started_at=database_now(),
    )
    _begin_next(session)
    return session


def run_step(*, principal: Principal, session: GameDaySession) -> str:
    """Start the run of the step that is going on; returns its reference. Guards may refuse it."""
    step = current_step(session)
    if step is None or not step.get("run"):
        raise refuse(session.reference, found="a step for people", allowed="a step that runs an experiment")
    experiment = Experiment.objects.select_related("environment").get(slug=step["run"])
    run = request_run(principal=principal, experiment=experiment)
    with transaction.atomic():
        fresh = GameDaySession.objects.select_for_update().get(pk=session.pk)
        fresh.steps[-1]["reference"] = run.reference
        fresh.save(update_fields=["steps"])
    return run.reference


@transaction.atomic
def end_step(*, principal: Principal, session: GameDaySession, outcome: str, note: str = "") -> GameDaySession:
    """End the step that is going on and begin the next one; after the last one only the summary is left."""
    fresh = GameDaySession.objects.select_for_update().get(pk=session.pk)
    _ensure_leader(principal, fresh.game_day)
    if outcome not in OUTCOMES:
        raise refuse("outcome", found=outcome, allowed=f"one of {', '.join(OUTCOMES)}")
    step = current_step(fresh)
    if step is None:
        raise refuse(session.reference, found="no step is going on", allowed="end the game day with its summary")
    now = database_now()
    late = now > datetime.fromisoformat(step["started_at"]) + timedelta(seconds=step["within_seconds"])
    step.update(ended_at=now.isoformat(), outcome=outcome, note=note[:1000], by=principal.reference, late=late)
    _begin_next(fresh)
    fresh.save(update_fields=["steps"])
    return fresh


@transaction.atomic
def end_game_day(*, principal: Principal, session: GameDaySession, summary: str) -> None:
    """End a game day with what was learned; the ledger keeps each step."""
    fresh = GameDaySession.objects.select_for_update().get(pk=session.pk)
    _ensure_leader(principal, fresh.game_day)
    if fresh.ended_at is not None:
        return
    now = database_now()
    step = current_step(fresh)
    if step is not None:
        step.update(
            ended_at=now.isoformat(), outcome="not done", note="ended early", by=principal.reference, late=False
        )
    fresh.ended_at, fresh.summary = now, summary[:4000]
    fresh.save(update_fields=["ended_at", "summary", "steps"])
    spec = game_day_spec(fresh.definition)
    record(
        GameDayHeld(
            session=fresh.reference,
            game_day=fresh.game_day.slug,
            led_by=fresh.led_by,
            services=spec.services,
            purpose=spec.purpose,
            steps=[
                GameDayStepRecord(
                    text=one["text"],
                    by=one["by"],
                    outcome=one["outcome"],
                    note=one["note"],
                    started_at=datetime.fromisoformat(one["started_at"]),
                    ended_at=datetime.fromisoformat(one["ended_at"]),
                    late=one["late"],
                )
                for one in fresh.steps
            ],
            summary=fresh.summary,
            started_at=fresh.started_at,
            ended_at=now,
        ),
        actor=principal.reference,
        subject=f"game-day:{fresh.game_day.slug}",
    )


def current_step(session: GameDaySession) -> dict[str, Any] | None:
    """Return the step that is going on."""
    last: dict[str, Any] | None = session.steps[-1] if session.steps else None
    return last if last is not None and "ended_at" not in last else None


def _begin_next(session: GameDaySession) -> None:
    spec = game_day_spec(session.definition)
    if len(session.steps) < len(spec.steps):
        step = spec.steps[len(session.steps)]
        session.steps.append(
            {
                "text": step.do or f"Run {step.run}",
                "who": step.who,
                "run": step.run,
                "within_seconds": step.within.total_seconds(),
                "started_at": database_now().isoformat(),
            }
        )
        session.save(update_fields=["steps"])


def _ensure_leader(principal: Principal, game_day: GameDay) -> None:
    for service in game_day.services.all():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
