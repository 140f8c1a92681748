"""What was refused of pushed events, kept so that the SLO says it: the sender alone reads the answer."""

from django.db import IntegrityError, transaction
from django.db.models import F

from core.clock import database_now
from reliability.data import DataState
from reliability.models import IntakeProblem
from reliability.services.otlp_points import Received


def note_problems(received: Received) -> None:
    """Keep what a request's points were refused for, by SLO."""
    for (tally_id, state), problem in received.problems.items():
        _note(tally_id, state, problem.note, problem.refused)


def note_refused_body(*, sender: str, reason: str) -> None:
    """Keep that a whole body was refused: which SLOs miss something cannot be known."""
    _note(None, DataState.BODY_REFUSED, f"A body of {sender} was refused: {reason}", 1)


def _note(tally_id: int | None, state: DataState, note: str, refused: int) -> None:
    known = IntakeProblem.objects.filter(version_id=tally_id, state=state)
    values = {"note": note[:300], "last_at": database_now()}
    if known.update(refused=F("refused") + refused, **values):
        return
    try:
        with transaction.atomic():
            IntakeProblem.objects.create(version_id=tally_id, state=state, refused=refused, **values)
    except IntegrityError:
        known.update(refused=F("refused") + refused, **values)
