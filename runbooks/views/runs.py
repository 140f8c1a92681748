"""Runs as a checklist: the document filling in, what waits for the reader, and what people do with a run."""

import hashlib
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
from core.clock import database_now
from core.lists import Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from runbooks.data import ENDED, RunState, StepState
from runbooks.forms import CancelForm, HandOverForm
from runbooks.models import RunbookRun
from runbooks.selectors import fence_ticks, lines_of, newest_lines, run_by_reference, runs_visible
from runbooks.services import (
    answer_step,
    cancel_run,
    hand_over_run,
    pause_run,
    plan_run_step,
    resume_run,
    take_over_run,
    tick_command,
)
from runbooks.views.shown import SETTLED, shown_run

LINES = 400
LINES_ON_PAGE = 5000
NOTHING_NEW = 204


class RunListView(RecordListView):
    """Every run that the reader may see."""

    title = "Runbook runs"
    noun = "runs"
    columns = (
        Column(
            "reference",
            "Run",
            lambda run: run.reference,
            kind="code",
            href=lambda run: reverse("runbooks:run_detail", args=[run.reference]),
        ),
        Column("runbook", "Runbook", lambda run: run.revision.runbook.title, order_by=("revision__runbook__title",)),
        Column("state", "State", lambda run: run.state, kind="state", order_by=("state",)),
        Column(
            "incident",
            "Incident",
            lambda run: run.incident_reference,
            href=lambda run: f"/incidents/{run.incident_reference}/" if run.incident_reference else "",
        ),
        Column("trigger", "Started by", lambda run: run.trigger),
        Column("started", "Started", lambda run: run.started_at, kind="time", order_by=("started_at",)),
        Column("ended", "Ended", lambda run: run.ended_at, kind="time", order_by=("ended_at",)),
    )
    filters = (Filter("state", "State", RunState.choices),)
    search_fields = ("reference", "revision__runbook__title", "incident_reference")
    default_sort = "-started"
    empty = Empty("No runbook has been run.", link_label="Runbooks", link_url="/runbooks/")

    def may_view(self, principal: Principal) -> bool:
        return principal.may_somewhere(Capability.OPERATIONS_VIEW)

    def get_records(self) -> Any:
        return runs_visible(viewer=principal_of(self.request))


class _RunView(LoginRequiredMixin, View):
    def run(self, request: HttpRequest, reference: str) -> RunbookRun:
        """Return a run that the reader may see."""
        if not runs_visible(viewer=principal_of(request)).filter(reference=reference).exists():
            raise Http404
        found = run_by_reference(reference=reference)
        if found is None:
            raise Http404
        return found


class RunDetailView(_RunView):
    """A run: the same document filling in, with what waits for the reader."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self.run(request, reference)
        if not request.htmx:  # type: ignore[attr-defined]
            return render(request, "runbooks/run_detail.html", _context(request, run))
        # Answering only when something changed leaves what the reader has opened or typed alone.
        if request.GET.get("seen") == _mark(run):
            return HttpResponse(status=NOTHING_NEW)
        return render(request, "runbooks/run_live.html", _context(request, run))

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self.run(request, reference)
        try:
            _do(request, principal_of(request), run)
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect("runbooks:run_detail", reference=reference)


def _do(request: HttpRequest, principal: Principal, run: RunbookRun) -> None:
    given = request.POST
    reason = given.get("reason", "").strip()
    match given.get("action"):
        case "answer":
            answer_step(
                principal=principal,
                run=run,
                step_id=given.get("step", ""),
                answer=given.get("answer", ""),
                evidence=given.get("evidence", ""),
                reason=reason,
            )
        case "cancel":
            roll_back = given.get("roll_back") == "on"
            cancel_run(principal=principal, run=run, reason=reason[:300] or "no reason", roll_back=roll_back)
        case "pause":
            pause_run(principal=principal, run=run, reason=reason[:300])
        case "resume":
            resume_run(principal=principal, run=run)
        case "take-over":
            take_over_run(principal=principal, run=run)
        case "hand-over":
            hand_over_run(principal=principal, run=run, to=given.get("to", "").strip())
        case "tick" if given.get("position", "").isdecimal():
            tick_command(
                principal=principal, run=run, position=int(given["position"][:4]), done=given.get("done") == "yes"
            )
        case _:
            raise Http404


def _mark(run: RunbookRun) -> str:
    """Return what a page of the run has shown, in short; it changes with whatever the page says."""
    newest = newest_lines(run=run, limit=1)
    said = [run.state, run.reason, run.operator, str(run.paused_at), str(newest[0].pk if newest else 0)]
    for step in run.steps.all():
        said += [step.state, step.answer, step.detail, str(len(step.attempts.all())), str(len(step.approvals.all()))]
    said += [str(len(run.notes.all())), ",".join(map(str, fence_ticks(run=run)))]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]


def _context(request: HttpRequest, run: RunbookRun) -> dict[str, Any]:
    principal = principal_of(request)
    steps, runbook = list(run.steps.all()), run.revision.runbook
    pieces = shown_run(run, viewer=principal, lines=newest_lines(run=run, limit=LINES), ticks=fence_ticks(run=run))
    return {
        "title": runbook.title,
        "run": run,
        "runbook": runbook,
        "now": database_now(),
        "ended": run.state in ENDED,
        "mark": _mark(run),
        "may_run": principal.may(Capability.RUNBOOK_RUN, team_id=runbook.team_id),
        "is_operator": run.operator == principal.reference,
        "operator": name_of(run.operator),
        "cancel_form": CancelForm(),
        "hand_over_form": HandOverForm(),
        "pieces": pieces,
        "current": next((piece for piece in pieces if piece.is_current), None),
        "done": sum(step.state in SETTLED for step in steps),
        "failed": sum(step.state in {StepState.FAILED, StepState.TIMED_OUT} for step in steps),
        "total": len(steps),
        "notes": list(run.notes.all())[::-1][:20],
        "may_see_ledger": principal.may_somewhere(Capability.LEDGER_VIEW),
        "inputs": [(name, _shown_input(value)) for name, value in run.inputs.items() if value not in (None, [])],
    }


def _shown_input(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


class RunPlanView(_RunView):
    """What one block of a run would do as things are now; fetched apart, since looking may take seconds."""

    def get(self, request: HttpRequest, reference: str, step_id: str) -> HttpResponse:
        run = self.run(request, reference)
        try:
            planned = plan_run_step(principal=principal_of(request), run=run, step_id=step_id)
        except InputRefusedError:
            raise Http404 from None
        return render(request, "runbooks/planned.html", {"planned": planned, "named": True})


class RunOutputView(_RunView):
    """Every line that a run's actions said, numbered."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self.run(request, reference)
        context = {
            "title": "Output",
            "run": run,
            "now": database_now(),
            "lines": list(lines_of(run=run, limit=LINES_ON_PAGE)),
            "most": LINES_ON_PAGE,
            "spilled": [
                (step.step_id, attempt)
                for step in run.steps.all()
                for attempt in step.attempts.all()
                if attempt.artifact_sha256
            ],
            "may_see_ledger": principal_of(request).may_somewhere(Capability.LEDGER_VIEW),
        }
        return render(request, "runbooks/run_output.html", context)
