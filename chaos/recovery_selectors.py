"""Reads of recovery tests and their runs."""

from django.db.models import QuerySet

from accounts.data import Capability, Principal
from chaos.data import RunState, Verdict
from chaos.domain.recovery_documents import RecoveryTestDocument, RecoveryTestSpec
from chaos.recovery_models import RecoveryTest, RecoveryTestRun


def recovery_tests_visible(*, viewer: Principal) -> QuerySet[RecoveryTest]:
    """Return the tests of services that the viewer may see."""
    found = RecoveryTest.objects.select_related("service")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    return found if teams is None else found.filter(service__team_id__in=teams)


def recovery_test_by_slug(*, slug: str) -> RecoveryTest | None:
    """Return a test."""
    return RecoveryTest.objects.select_related("service").filter(slug=slug).first()


def recovery_runs_visible(*, viewer: Principal) -> QuerySet[RecoveryTestRun]:
    """Return the runs of tests that the viewer may see, newest first."""
    found = RecoveryTestRun.objects.select_related("test", "test__service")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    return found if teams is None else found.filter(test__service__team_id__in=teams)


def recovery_run_by_reference(*, reference: str) -> RecoveryTestRun | None:
    """Return a run."""
    return RecoveryTestRun.objects.select_related("test", "test__service").filter(reference=reference).first()


def live_recovery_runs() -> QuerySet[RecoveryTestRun]:
    """Return the runs that have not ended."""
    return RecoveryTestRun.objects.exclude(state=RunState.FINISHED).select_related("test", "test__service")


def latest_recovery_run(*, test: RecoveryTest) -> RecoveryTestRun | None:
    """Return a test's newest run that has ended."""
    return test.runs.filter(state=RunState.FINISHED).order_by("-ended_at").first()


def usual_run(*, test: RecoveryTest) -> RecoveryTestRun | None:
    """Return the newest run that has come to a verdict of its own, to reckon from how long one takes."""
    ended = test.runs.filter(state=RunState.FINISHED, started_at__isnull=False, ended_at__isnull=False)
    return ended.exclude(verdict__in=[Verdict.ABORTED, Verdict.REFUSED]).order_by("-ended_at").first()


def spec_of_test(test: RecoveryTest) -> RecoveryTestSpec:
    """Return a test's parsed definition."""
    return RecoveryTestDocument.model_validate(test.definition).spec


def spec_of_run(run: RecoveryTestRun) -> RecoveryTestSpec:
    """Return what the test said when the run was asked for."""
    return RecoveryTestDocument.model_validate(run.definition).spec
