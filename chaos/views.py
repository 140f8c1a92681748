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
from accounts.selectors import name_of
from accounts.services import principal_of
from chaos.data import RunState, Verdict
from chaos.forms import ReasonForm
from chaos.models import ChaosRun, Experiment
from chaos.selectors import (
    engaged_kill_switch,
    experiments_visible,
    latest_revision,
    run_by_reference,
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
    release_kill_switch,
    request_run,
    spec_of,
    stop_run,
)
from core.clock import database_now
from core.drawings import Interval, Lane, Mark, TimeAxis
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from core.states import Tone, tone_of


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
        Column("slug", "Slug", lambda one: one.slug, kind="code", order_by=("slug",)),
        Column("services", "Services", lambda one: ", ".join(service.name for service in one.services.all())),
        Column("environment", "Environment", lambda one: one.environment.name, order_by=("environment__name",)),
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
        return experiments_visible(viewer=principal_of(self.request)).distinct()

    def get_actions(self) -> Sequence[Action]:
        return [
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
            "may_approve": principal.may(Capability.APPROVE) and revision.author != principal.reference,
            "runs": runs_visible(viewer=principal).filter(revision__experiment=experiment)[:8],
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


class RunDetailView(LoginRequiredMixin, View):
    """Is it hurting more than planned? Stop!"""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self._run(request, reference)
        principal = principal_of(request)
        template = "chaos/run_live.html" if request.htmx else "chaos/run_detail.html"  # type: ignore[attr-defined]
        now = database_now()
        context = {
            "title": f"Run of {run.revision.experiment}",
            "run": run,
            "now": now,
            "axis": _axis(run, now=now),
            "faults": run.faults.all(),
            "going_on": run.state != RunState.FINISHED,
            "may_stop": principal.may_somewhere(Capability.CHAOS_STOP),
            "form": ReasonForm(),
            "facts": [
                ("Reference", run.reference),
                ("Requested by", name_of(run.requested_by)),
                ("Steady before", _known(run.steady_before)),
                ("Steady during", _known(run.steady_during)),
                ("Steady after", _known(run.steady_after)),
                ("Stopped by", name_of(run.stop_requested_by) or None),
                ("Why stopped", run.stop_reason or None),
            ],
        }
        return render(request, template, context)

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self._run(request, reference)
        reason = request.POST.get("reason", "").strip()[:300] or "stopped by hand"
        if stop_run(principal=principal_of(request), run=run, reason=reason):
            messages.success(request, "Stopping: the faults are undone now.")
        return redirect("chaos:run_detail", reference=reference)

    def _run(self, request: HttpRequest, reference: str) -> ChaosRun:
        if not runs_visible(viewer=principal_of(request)).filter(reference=reference).exists():
            raise Http404
        run = run_by_reference(reference=reference)
        if run is None:
            raise Http404
        return run


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


def _axis(run: ChaosRun, *, now: Any) -> TimeAxis:
    start = run.requested_at - timedelta(seconds=10)
    end = (run.ended_at or max(now, run.requested_at)) + timedelta(seconds=20)
    marks = [Mark(run.deadline_at, "Deadline", Tone.BAD)] if run.deadline_at <= end else []
    return TimeAxis(
        label=f"What the run did, {run.reference}",
        start=start,
        end=end,
        now=now if run.ended_at is None else None,
        lanes=[
            Lane("Run", [Interval(str(run.revision.experiment), run.requested_at, run.ended_at, tone=Tone.ACTIVE)]),
            Lane(
                "Faults",
                [
                    Interval(
                        f"{fault.action} on {', '.join(fault.targets)}",
                        fault.injected_at,
                        fault.reverted_at,
                        tone=tone_of(fault.state) if fault.state == "dirty" else Tone.RISK,
                    )
                    for fault in run.faults.all()
                    if fault.injected_at is not None
                ],
            ),
        ],
        marks=marks,
        width=1100,
    )


def _known(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _written(value: timedelta) -> str:
    return f"{round(value.total_seconds())} s"
