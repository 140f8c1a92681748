"""A run while it lasts and afterwards, and two runs side by side."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.data import Capability, Principal
from accounts.selectors import name_of
from accounts.services import principal_of
from chaos.data import FaultState, RunState
from chaos.forms import ReasonForm
from chaos.models import ChaosRun
from chaos.run_axis import progress_of, run_axis
from chaos.selectors import run_by_reference, runs_visible
from chaos.services import budget_spent, clear_dirty_run, spec_of, stop_run
from core.clock import database_now

EVENT_ICONS = {"run": "flask", "fault": "bolt", "probe": "eye", "watcher": "hand-stop"}
COMPARED_WITH = 5


def seen_run(viewer: Principal, reference: str) -> ChaosRun:
    """Return a run that the viewer may see. Raises Http404."""
    if not runs_visible(viewer=viewer).filter(reference=reference).exists():
        raise Http404
    run = run_by_reference(reference=reference)
    if run is None:
        raise Http404
    return run


class RunDetailView(LoginRequiredMixin, View):
    """Is it hurting more than planned? Stop!"""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        principal = principal_of(request)
        run = seen_run(principal, reference)
        template = "chaos/run_live.html" if request.htmx else "chaos/run_detail.html"  # type: ignore[attr-defined]
        now = database_now()
        faults = list(run.faults.all())
        others = runs_visible(viewer=principal).filter(revision__experiment=run.revision.experiment)
        context = {
            "title": f"Run of {run.revision.experiment}",
            "run": run,
            "now": now,
            "axis": run_axis(run, now=now),
            "progress": progress_of(run, now=now),
            "faults": faults,
            "dirty": [one for one in faults if one.state == FaultState.DIRTY],
            "entries": [
                {"at": one.at, "title": one.text, "icon": EVENT_ICONS.get(one.kind, "point")}
                for one in run.events.all()
            ],
            "others": others.exclude(pk=run.pk).exclude(verdict="")[:COMPARED_WITH],
            "going_on": run.state != RunState.FINISHED,
            "may_stop": principal.may_somewhere(Capability.CHAOS_STOP),
            "may_clear": principal.may_somewhere(Capability.CHAOS_RUN),
            "form": ReasonForm(),
            "facts": facts_of(run),
        }
        return render(request, template, context)

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        principal = principal_of(request)
        run = seen_run(principal, reference)
        reason = request.POST.get("reason", "").strip()[:300]
        if request.POST.get("action") == "clear":
            if not reason:
                messages.error(request, "Say what was done to the targets.")
            elif clear_dirty_run(principal=principal, run=run, reason=reason):
                messages.success(request, "Cleared: the targets are free again.")
        elif stop_run(principal=principal, run=run, reason=reason or "stopped by hand"):
            messages.success(request, "Stopping: the faults are undone now.")
        return redirect("chaos:run_detail", reference=reference)


class RunComparisonView(LoginRequiredMixin, View):
    """What was different this time?"""

    def get(self, request: HttpRequest, reference: str, other: str) -> HttpResponse:
        principal = principal_of(request)
        now = database_now()
        runs = [seen_run(principal, one) for one in (other, reference)]
        first, second = (dict(facts_of(run)) for run in runs)
        rows = [
            {
                "name": name,
                "values": (first.get(name), second.get(name)),
                "differs": first.get(name) != second.get(name),
            }
            for name in dict.fromkeys([*first, *second])
        ]
        context = {
            "title": f"Two runs of {runs[1].revision.experiment}",
            "intro": "The earlier one first; what differs is marked.",
            "experiment": runs[1].revision.experiment,
            "runs": [{"run": run, "axis": run_axis(run, now=now, width=760)} for run in runs],
            "rows": rows,
        }
        return render(request, "chaos/run_comparison.html", context)


def facts_of(run: ChaosRun) -> list[tuple[str, Any]]:
    """Return what is known of a run, in words."""
    spent = {slo: budget_spent(run, slo) for slo in spec_of(run.revision).steady_state.slos}
    lasted = run.ended_at - run.requested_at if run.ended_at else None
    return [
        ("Reference", run.reference),
        ("Revision", str(run.revision.number)),
        ("Requested by", name_of(run.requested_by)),
        ("Lasted", f"{round(lasted.total_seconds())} s" if lasted else None),
        ("Recovered in", None if run.recovery_seconds is None else f"{run.recovery_seconds:.1f} s"),
        *((f"Spent of {slo}", "unknown" if one is None else f"{one:.1f} %") for slo, one in spent.items()),
        ("Steady before", _known(run.steady_before)),
        ("Steady during", _known(run.steady_during)),
        ("Steady after", _known(run.steady_after)),
        ("Stopped by", name_of(run.stop_requested_by) or None),
        ("Why stopped", run.stop_reason or None),
        ("Plan", run.plan_sha256[:12] or None),
        ("Compiled", run.compiled_sha256[:12] or None),
    ]


def _known(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"
