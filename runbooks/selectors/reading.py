"""Reads of runbooks and runs."""

import re
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from accounts.selectors import names_of
from runbooks.data import ENDED, StepState
from runbooks.models import FenceTick, OutputLine, RemoteHost, Runbook, RunbookRevision, RunbookRun, RunStep


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
        .prefetch_related("steps__attempts", "steps__approvals", "notes")
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
    """Return what runs wait for a person to say: questions, decisions, steps to let go on, outcomes nobody knows."""
    asked = Q(kind__in=("confirm", "decide", "step"), state=StepState.WAITING) | Q(state=StepState.UNKNOWN)
    return RunStep.objects.filter(asked).exclude(run__state__in=ENDED).select_related("run__revision__runbook")


def step_of(*, run: RunbookRun, step_id: str) -> RunStep | None:
    """Return a step of a run by its id; `restart[2]` is the second item of one with `foreach`."""
    match = re.fullmatch(r"([a-z0-9][a-z0-9-]*)(?:\[([1-9][0-9]?)\])?", step_id)
    if match is None:
        return None
    return RunStep.objects.filter(run=run, step_id=match[1], item_index=int(match[2] or 1) - 1).first()


def is_one_of(principal: Principal, wanted: Iterable[str], *, team_id: int | None) -> bool:
    """Say whether somebody is meant by `role:…`, `team:…` or `user:…`."""
    of_team = principal.team_roles.get(team_id) if team_id is not None else None
    roles = {f"role:{role.value}" for role in principal.site_roles | (of_team or frozenset())}
    return not (roles | names_of(principal=principal)).isdisjoint(wanted)


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


def newest_lines(*, run: RunbookRun, limit: int) -> list[OutputLine]:
    """Return the last lines that a run's actions said, in the order in which they were written."""
    return list(OutputLine.objects.filter(attempt__step__run=run).order_by("-pk")[:limit])[::-1]


def fence_ticks(*, run: RunbookRun) -> dict[int, FenceTick]:
    """Return which commands of the text people have ticked as done, by their place in the document."""
    return {tick.position: tick for tick in FenceTick.objects.filter(run=run)}


def remote_host(*, name: str) -> RemoteHost | None:
    """Return a host that runbooks may reach."""
    return RemoteHost.objects.filter(name=name).first()
