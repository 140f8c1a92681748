"""Reads of runbooks and runs."""

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from runbooks.data import StepState
from runbooks.models import Runbook, RunbookRevision, RunbookRun, RunStep


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
