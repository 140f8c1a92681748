"""Experiments with their plan and guards, runs with a stop button, and the kill switch."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from accounts.services import principal_of
from chaos.data import RunState, Verdict
from chaos.forms import ReasonForm
from chaos.models import Experiment
from chaos.selectors import (
    engaged_kill_switch,
    experiments_visible,
    experiments_with_their_runs,
    findings_visible,
    last_kill_switch_test,
    latest_revision,
    runs_visible,
)
from chaos.services import (
    GuardRefusedError,
    RunPlan,
    approve_plan,
    ask_for_approval,
    ask_guards,
    engage_kill_switch,
    plan_run,
    predicted_budgets,
    release_kill_switch,
    request_run,
    spec_of,
)
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError


def may_view(principal: Principal) -> bool:
    """Say whether the room's pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


class ExperimentListView(RecordListView):
    """Every experiment that the reader may see."""

    title = "Chaos experiments"
    noun = "experiments"
    columns = (
        Column(
            "title",
            "Experiment",
            str,
            kind="strong",
            order_by=("title",),
            href=lambda one: reverse("chaos:experiment_detail", args=[one.slug]),
        ),
        Column("outcome", "Last run", lambda one: one.outcome, kind="state", order_by=("outcome",)),
        Column("last", "When", lambda one: one.last_at, kind="time", order_by=("last_at",)),
        Column("next", "Next", lambda one: one.next_at, kind="time", order_by=("next_at",)),
        Column("services", "Services", lambda one: ", ".join(service.name for service in one.services.all())),
        Column("environment", "Environment", lambda one: one.environment.name, order_by=("environment__name",)),
        Column("slug", "Slug", lambda one: one.slug, kind="code", order_by=("slug",), wide_only=True),
    )
    filters = (
        Filter(
            "outcome",
            "Last run",
            (*Verdict.choices, ("never", "NEVER")),
            apply=lambda found, chosen: found.filter(outcome__in=chosen),
        ),
    )
    search_fields = ("title", "slug", "services__name")
    default_sort = "title"
    empty = Empty(
        "No experiment is known yet. Describe one in YAML and apply it.",
        command=".venv/bin/python manage.py chaos apply experiments.yaml",
    )

    def may_view(self, principal: Principal) -> bool:
        return may_view(principal)

    def get_records(self) -> Any:
        return experiments_with_their_runs(viewer=principal_of(self.request)).distinct()

    def get_actions(self) -> Sequence[Action]:
        return [
            *(
                [Action("Write an experiment", reverse("chaos:builder"), icon="plus", primary=True)]
                if principal_of(self.request).may_somewhere(Capability.CHAOS_EDIT)
                else []
            ),
            Action("Coverage", reverse("chaos:coverage"), icon="layout-grid", primary=False),
            Action("Game days", reverse("chaos:game_day_list"), icon="users", primary=False),
            Action("Runs", reverse("chaos:run_list"), icon="list-check", primary=False),
            Action("Kill switch", reverse("chaos:kill_switch"), icon="hand-stop", primary=False),
        ]


class RunListView(RecordListView):
    """Every run that the reader may see."""

    title = "Chaos runs"
    noun = "runs"
    columns = (
        Column(
            "reference",
            "Run",
            lambda run: run.reference,
            kind="code",
            href=lambda run: reverse("chaos:run_detail", args=[run.reference]),
        ),
        Column("experiment", "Experiment", lambda run: str(run.revision.experiment)),
        Column("state", "State", lambda run: run.verdict or run.state, kind="state", order_by=("state", "verdict")),
        Column("requested", "Requested", lambda run: run.requested_at, kind="time", order_by=("requested_at",)),
        Column("ended", "Ended", lambda run: run.ended_at, kind="time", order_by=("ended_at",)),
        Column("reason", "Why", lambda run: run.reason, wide_only=True),
    )
    filters = (Filter("verdict", "Verdict", Verdict.choices), Filter("state", "State", RunState.choices))
    search_fields = ("reference", "revision__experiment__title", "reason")
    default_sort = "-requested"
    empty = Empty("No experiment has been run.", link_label="Experiments", link_url="/chaos/")

    def may_view(self, principal: Principal) -> bool:
        return may_view(principal)

    def get_records(self) -> Any:
        return runs_visible(viewer=principal_of(self.request))


class ExperimentDetailView(LoginRequiredMixin, View):
    """What will be hurt, how is it undone, may I?"""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        experiment = self._experiment(request, slug)
        principal = principal_of(request)
        plan, problem = _plan(experiment)
        revision = latest_revision(experiment=experiment)
        spec = spec_of(revision)
        guards = ask_guards(plan, requested_by=principal.reference) if plan else []
        context = {
            "title": str(experiment),
            "experiment": experiment,
            "spec": spec,
            "plan": plan,
            "problem": problem,
            "faults": list(zip(spec.faults, plan.faults, strict=True))
            if plan
            else [(one, None) for one in spec.faults],
            "guards": guards,
            "allowed": bool(guards) and all(guard.allowed for guard in guards),
            "may_run": principal.may_somewhere(Capability.CHAOS_RUN),
            "asks_for": next((one for one in guards if one.guard == "approval" and not one.allowed), None),
            "may_approve": principal.may(Capability.APPROVE)
            and not is_same_person(principal, reference=revision.author),
            "runs": (runs := list(runs_visible(viewer=principal).filter(revision__experiment=experiment)[:8])),
            "recoveries": [one.recovery_seconds for one in reversed(runs) if one.recovery_seconds is not None],
            "budgets": predicted_budgets(plan) if plan else [],
            "findings": findings_visible(viewer=principal).filter(experiment=experiment)[:5],
            "may_edit": principal.may_somewhere(Capability.CHAOS_EDIT),
            "facts": [
                ("Services", ", ".join(service.name for service in experiment.services.all())),
                ("Environment", experiment.environment.name),
                ("Held for", _written(spec.hold)),
                ("Steady state", ", ".join(spec.steady_state.slos)),
                ("At most", f"{spec.blast_radius.max_targets} targets, {spec.blast_radius.max_share_percent} %"),
                ("Revision", f"{revision.number} by {revision.author}"),
            ],
        }
        return render(request, "chaos/experiment_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        experiment, principal = self._experiment(request, slug), principal_of(request)
        try:
            if request.POST.get("action") == "approve":
                approve_plan(principal=principal, experiment=experiment)
                messages.success(request, "Approved for an hour, as it stands now.")
            elif request.POST.get("action") == "ask":
                ask_for_approval(principal=principal, experiment=experiment)
                messages.success(request, "Those who may approve have been asked.")
            elif request.POST.get("action") == "run":
                run = request_run(principal=principal, experiment=experiment)
                return redirect("chaos:run_detail", reference=run.reference)
        except (GuardRefusedError, InputRefusedError) as error:
            messages.error(request, str(error))
        return redirect("chaos:experiment_detail", slug=slug)

    def _experiment(self, request: HttpRequest, slug: str) -> Experiment:
        found = experiments_visible(viewer=principal_of(request)).filter(slug=slug).first()
        if found is None:
            raise Http404
        return found


class KillSwitchView(LoginRequiredMixin, View):
    """Stops every run and lets none start until it is released."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, ReasonForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        if request.POST.get("action") == "release":
            release_kill_switch(principal=principal)
            return redirect("chaos:kill_switch")
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        engage_kill_switch(principal=principal, reason=form.cleaned_data["reason"])
        return redirect("chaos:kill_switch")

    def _page(self, request: HttpRequest, form: ReasonForm) -> HttpResponse:
        principal = principal_of(request)
        if not may_view(principal):
            raise Http404
        context = {
            "title": "Kill switch",
            "switch": engaged_kill_switch(),
            "last_test": last_kill_switch_test(),
            "form": form,
            "may_stop": principal.may_somewhere(Capability.CHAOS_STOP),
            "may_release": principal.may_somewhere(Capability.CHAOS_RUN),
        }
        return render(request, "chaos/kill_switch.html", context)


def _plan(experiment: Experiment) -> tuple[RunPlan | None, str]:
    """Return the plan as it would be now, or why its targets cannot be resolved."""
    try:
        return plan_run(experiment=experiment), ""
    except InputRefusedError as error:
        return None, str(error)


def _written(value: timedelta) -> str:
    return f"{round(value.total_seconds())} s"
