"""Reads of runbooks and runs."""

import re
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from accounts.models import User
from runbooks.data import StepState
from runbooks.models import OutputLine, Runbook, RunbookRevision, RunbookRun, RunStep


def runbooks_visible(*, viewer: Principal) -> QuerySet[Runbook]:
    """Return the runbooks that the viewer may read."""
    found = Runbook.objects.select_related("team")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    return found.filter(Q(team_id__in=teams) | Q(team__isnull=True)) if teams else found.none()


def runbook_by_slug(*, slug: str) -> Runbook | None:
    """Return a runbook."""
    return Runbook.objects.select_related("team").filter(slug=slug).first()


def latest_revision(*, runbook: Runbook) -> RunbookRevision:
    """Return the revision in force."""
    return runbook.revisions.order_by("-created_at", "-pk")[:1].get()


def runs_visible(*, viewer: Principal) -> QuerySet[RunbookRun]:
    """Return the runs of runbooks that the viewer may read."""
    visible = runbooks_visible(viewer=viewer).values("pk")
    return RunbookRun.objects.filter(revision__runbook__in=visible).select_related("revision__runbook")


def run_by_reference(*, reference: str) -> RunbookRun | None:
    """Return a run with its steps and attempts."""
    return (
        RunbookRun.objects.select_related("revision__runbook__team")
        .prefetch_related("steps__attempts")
        .filter(reference=reference)
        .first()
    )


def runs_of_incident(*, incident_reference: str) -> QuerySet[RunbookRun]:
    """Return the runs of an incident."""
    return RunbookRun.objects.filter(incident_reference=incident_reference).select_related("revision__runbook")


def waiting_approvals() -> QuerySet[RunStep]:
    """Return the approvals that runs wait for."""
    return RunStep.objects.filter(kind="approve", state=StepState.WAITING).select_related("run__revision__runbook")


def waiting_confirmations() -> QuerySet[RunStep]:
    """Return the questions that runs wait for an answer to."""
    return RunStep.objects.filter(kind="confirm", state=StepState.WAITING).select_related("run__revision__runbook")


def step_of(*, run: RunbookRun, step_id: str) -> RunStep | None:
    """Return a step of a run by its id; `restart[2]` is the second item of one with `foreach`."""
    match = re.fullmatch(r"([a-z0-9][a-z0-9-]*)(?:\[([1-9][0-9]?)\])?", step_id)
    if match is None:
        return None
    return RunStep.objects.filter(run=run, step_id=match[1], item_index=int(match[2] or 1) - 1).first()


def is_one_of(principal: Principal, wanted: Iterable[str], *, team_id: int | None) -> bool:
    """Say whether somebody is meant by `role:…`, `team:…` or `user:…`."""
    if principal.user_id is None:
        return False
    user = User.objects.prefetch_related("teams").get(pk=principal.user_id)
    held = principal.site_roles | (
        principal.team_roles.get(team_id, frozenset()) if team_id is not None else frozenset()
    )
    names = {f"user:{user.username}", *(f"team:{team.slug}" for team in user.teams.all())}
    return any(one in names or one in {f"role:{role.value}" for role in held} for one in wanted)


def runbooks_called_by(*, labels: dict[str, str]) -> list[Runbook]:
    """Return the runbooks that an alert with these labels calls for."""
    return [
        runbook
        for runbook in Runbook.objects.select_related("team").exclude(triggers=[])
        if any(labels.get(one["label"]) == one["equals"] for one in runbook.triggers)
    ]


def lines_of(*, run: RunbookRun, after: int = 0, limit: int = 1000) -> QuerySet[OutputLine]:
    """Return the lines that a run's actions said after one, in the order in which they were written."""
    return (
        OutputLine.objects.filter(attempt__step__run=run, pk__gt=after)
        .select_related("attempt__step")
        .order_by("pk")[:limit]
    )
