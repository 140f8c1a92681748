"""Reads of experiments and runs."""

from typing import Any

from django.db.models import Case, CharField, F, Max, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from accounts.data import Capability, Principal
from chaos.data import RunState
from chaos.models import (
    ApprovalRequest,
    ChaosRun,
    Experiment,
    ExperimentRevision,
    ExperimentSchedule,
    KillSwitch,
    KillSwitchTest,
)
from chaos.program_models import ChaosFinding, FindingState
from chaos.recovery_models import RecoveryTest
from chaos.recovery_selectors import recovery_tests_visible


def experiments_visible(*, viewer: Principal) -> QuerySet[Experiment]:
    """Return the experiments on services that the viewer may see."""
    found = Experiment.objects.select_related("environment").prefetch_related("services")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    return found if teams is None else found.filter(services__team_id__in=teams).distinct()


def experiments_with_their_runs(*, viewer: Principal) -> QuerySet[Experiment]:
    """Return the visible experiments, each with what its newest run came to and when, and when it runs next by itself.

    `outcome` is the verdict, the state of a run that has not ended, or "never"; `last_at` and `next_at` may be None.
    """
    newest = ChaosRun.objects.filter(revision__experiment=OuterRef("pk")).order_by("-requested_at")
    outcome = Case(When(verdict="", then=F("state")), default=F("verdict"), output_field=CharField())
    return experiments_visible(viewer=viewer).annotate(
        outcome=Coalesce(Subquery(newest.annotate(outcome=outcome).values("outcome")[:1]), Value("never")),
        last_at=Subquery(newest.values("requested_at")[:1]),
        next_at=Case(When(schedule__paused_by="", then=F("schedule__due_at"))),
    )


def experiment_by_slug(*, slug: str) -> Experiment | None:
    """Return an experiment."""
    return Experiment.objects.select_related("environment").filter(slug=slug).first()


def latest_revision(*, experiment: Experiment) -> ExperimentRevision:
    """Return what an experiment says now."""
    return experiment.revisions.select_related("experiment", "experiment__environment").order_by("-number")[:1].get()


def runs_visible(*, viewer: Principal) -> QuerySet[ChaosRun]:
    """Return the runs of experiments that the viewer may see, newest first."""
    return ChaosRun.objects.filter(
        revision__experiment__in=experiments_visible(viewer=viewer).values("pk")
    ).select_related("revision__experiment")


def run_by_reference(*, reference: str) -> ChaosRun | None:
    """Return a run with its faults."""
    return (
        ChaosRun.objects.select_related("revision__experiment__environment")
        .prefetch_related("faults")
        .filter(reference=reference)
        .first()
    )


def live_runs() -> QuerySet[ChaosRun]:
    """Return runs that have not ended."""
    return ChaosRun.objects.exclude(state=RunState.FINISHED).select_related("revision__experiment")


def engaged_kill_switch() -> KillSwitch | None:
    """Return the kill switch if it is engaged."""
    return KillSwitch.objects.filter(released_at__isnull=True).first()


def last_kill_switch_test() -> KillSwitchTest | None:
    """Return the newest self-test of the kill switch."""
    return KillSwitchTest.objects.first()


def schedules_visible(*, viewer: Principal) -> QuerySet[ExperimentSchedule]:
    """Return the schedules of experiments that the viewer may see, the next one first."""
    seen = experiments_visible(viewer=viewer).values("pk")
    return ExperimentSchedule.objects.filter(experiment__in=seen).select_related("experiment").order_by("due_at")


def waiting_requests(*, viewer: Principal) -> QuerySet[ApprovalRequest]:
    """Return the plans that wait for an approval which the viewer may give, the oldest first.

    Nobody approves what they have written, and a request for a revision that is not the newest is past.
    """
    found = (
        ApprovalRequest.objects.filter(settled_at=None)
        .annotate(newest=Max("revision__experiment__revisions__number"))
        .filter(revision__number=F("newest"))
        .exclude(revision__author=viewer.reference)
        .select_related("revision__experiment")
        .order_by("asked_at")
    )
    return found if viewer.may(Capability.APPROVE) else found.none()


def recovery_test_by_slug(*, slug: str) -> RecoveryTest | None:
    """Return a recovery test."""
    return RecoveryTest.objects.select_related("service").filter(slug=slug).first()


def next_recovery_tests(*, viewer: Principal) -> QuerySet[RecoveryTest]:
    """Return the recovery tests that the viewer may see and that run by themselves, the next one first."""
    return recovery_tests_visible(viewer=viewer).filter(next_due_at__isnull=False).order_by("next_due_at")


def findings_visible(*, viewer: Principal) -> QuerySet[ChaosFinding]:
    """Return the findings of experiments that the viewer may see, newest first."""
    return ChaosFinding.objects.filter(experiment__in=experiments_visible(viewer=viewer).values("pk")).select_related(
        "experiment", "found_in__revision", "proven_in"
    )


def retests_visible(*, viewer: Principal) -> QuerySet[ChaosFinding]:
    """Return the findings that are said to be mended and must be tried again, the most urgent first."""
    mended = findings_visible(viewer=viewer).filter(state=FindingState.MENDED)
    return mended.prefetch_related("experiment__services").order_by("retest_due_at", "pk")


def missed_turns(*, experiment: Experiment) -> int:
    """Return how many turns of an experiment's schedule nobody was there for."""
    return experiment.turns.aggregate(total=Sum("missed"))["total"] or 0


def run_as_json(run: ChaosRun) -> dict[str, Any]:
    """Return a run in figures."""
    names = ("reference", "state", "verdict", "reason", "requested_by", "requested_at", "started_at", "ended_at")
    faults = [
        {"action": one.action, "targets": one.targets, "state": one.state, "took_effect": one.took_effect}
        for one in run.faults.all()
    ]
    return {
        "experiment": run.revision.experiment.slug,
        **{name: getattr(run, name) for name in names},
        "faults": faults,
        "guards": run.guards,
    }
