"""Runbooks as documents, and their runs as the same document filling in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import principal_of
from core.clock import database_now
from core.identifiers import new_id
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from drivers.services import action
from runbooks.data import ENDED, RunState, StepState
from runbooks.domain.rendering import pieces_of
from runbooks.forms import CancelForm, StartForm
from runbooks.models import Runbook, RunbookRun, RunStep
from runbooks.selectors import latest_revision, run_by_reference, runbooks_visible, runs_visible
from runbooks.services import approve_step, cancel_run, confirm_step, reject_step, resolve_arguments, start_run


@dataclass(frozen=True)
class Shown:
    """A piece of the document as the page shows it: prose, or a block with its risk and, in a run, its step."""

    html: SafeString | str = ""
    block: dict[str, Any] | None = None
    risk: str = ""
    arguments: Sequence[tuple[str, object]] = ()
    step: RunStep | None = None
    may_answer: bool = False
    refusal: str = ""


class RunbookListView(RecordListView):
    """Every runbook that the reader may see."""

    title = "Runbooks"
    noun = "runbooks"
    columns = (
        Column(
            "title",
            "Runbook",
            lambda runbook: runbook.title,
            kind="strong",
            order_by=("title",),
            href=lambda runbook: reverse("runbooks:runbook_detail", args=[runbook.slug]),
        ),
        Column("slug", "Slug", lambda runbook: runbook.slug, kind="code", order_by=("slug",)),
        Column("services", "Services", lambda runbook: ", ".join(one.name for one in runbook.services.all())),
        Column("team", "Owner", lambda runbook: runbook.team.name if runbook.team else "", order_by=("team__name",)),
        Column("review", "Review by", lambda runbook: runbook.review_by, order_by=("review_by",)),
    )
    search_fields = ("title", "slug", "services__name")
    default_sort = "title"
    empty = Empty(
        "No runbook is known yet. Write one in Markdown and apply it.",
        command=".venv/bin/python manage.py runbook apply runbook.md",
    )

    def may_view(self, principal: Principal) -> bool:
        return principal.may_somewhere(Capability.OPERATIONS_VIEW)

    def get_records(self) -> Any:
        return runbooks_visible(viewer=principal_of(self.request)).prefetch_related("services").distinct()

    def get_actions(self) -> Sequence[Action]:
        return [Action("Runs", reverse("runbooks:run_list"), icon="list-check", primary=False)]


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


class RunbookDetailView(LoginRequiredMixin, View):
    """The document with its blocks, and the form that starts a run."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        return self._page(request, self._runbook(request, slug))

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        runbook = self._runbook(request, slug)
        form = StartForm(request.POST, inputs=latest_revision(runbook=runbook).inputs)
        if not form.is_valid():
            return self._page(request, runbook, form)
        principal = principal_of(request)
        try:
            run = start_run(
                principal=principal,
                runbook_slug=slug,
                inputs=form.given(),
                trigger=f"{principal.label} by hand",
                idempotency_key=request.POST.get("key", "")[:60] or new_id("start"),
            )
        except InputRefusedError as error:
            form.add_error(None, str(error))
            return self._page(request, runbook, form)
        return redirect("runbooks:run_detail", reference=run.reference)

    def _runbook(self, request: HttpRequest, slug: str) -> Runbook:
        runbook = runbooks_visible(viewer=principal_of(request)).prefetch_related("services").filter(slug=slug).first()
        if runbook is None:
            raise Http404
        return runbook

    def _page(self, request: HttpRequest, runbook: Runbook, form: StartForm | None = None) -> HttpResponse:
        revision = latest_revision(runbook=runbook)
        blocks = {block["id"]: block for block in revision.blocks}
        principal = principal_of(request)
        context = {
            "title": runbook.title,
            "runbook": runbook,
            "revision": revision,
            "pieces": [_shown(piece, blocks) for piece in pieces_of(revision.source)],
            "form": form or StartForm(inputs=revision.inputs),
            "key": new_id("start"),
            "may_run": principal.may(Capability.RUNBOOK_RUN, team_id=runbook.team_id),
            "runs": runs_visible(viewer=principal).filter(revision__runbook=runbook)[:8],
            "facts": [
                ("Owner", runbook.team.name if runbook.team else "nobody"),
                ("Services", ", ".join(one.name for one in runbook.services.all()) or None),
                ("Review by", runbook.review_by),
                ("Revision", revision.sha256[:12]),
                ("Author", revision.author),
            ],
        }
        return render(request, "runbooks/runbook_detail.html", context)


class RunDetailView(LoginRequiredMixin, View):
    """A run: the same document filling in, with what waits for the reader."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self._run(request, reference)
        template = "runbooks/run_live.html" if request.htmx else "runbooks/run_detail.html"  # type: ignore[attr-defined]
        return render(request, template, self._context(request, run))

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        run, principal = self._run(request, reference), principal_of(request)
        step_id, answer = request.POST.get("step", ""), request.POST.get("answer", "")
        try:
            match request.POST.get("action"):
                case "approve":
                    approve_step(principal=principal, run=run, step_id=step_id)
                case "reject":
                    reject_step(principal=principal, run=run, step_id=step_id)
                case "confirm":
                    confirm_step(principal=principal, run=run, step_id=step_id, answer=answer)
                case "cancel":
                    cancel_run(principal=principal, run=run, reason=request.POST.get("reason", "")[:300] or "no reason")
                case _:
                    raise Http404
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect("runbooks:run_detail", reference=reference)

    def _run(self, request: HttpRequest, reference: str) -> RunbookRun:
        if not runs_visible(viewer=principal_of(request)).filter(reference=reference).exists():
            raise Http404
        run = run_by_reference(reference=reference)
        if run is None:
            raise Http404
        return run

    def _context(self, request: HttpRequest, run: RunbookRun) -> dict[str, Any]:
        principal = principal_of(request)
        blocks = {block["id"]: block for block in run.revision.blocks}
        steps = {step.step_id: step for step in run.steps.all()}
        team_id = run.revision.runbook.team_id
        may_run = principal.may(Capability.RUNBOOK_RUN, team_id=team_id)
        return {
            "title": run.revision.runbook.title,
            "run": run,
            "now": database_now(),
            "ended": run.state in ENDED,
            "may_run": may_run,
            "cancel_form": CancelForm(),
            "unknown_answers": ("done", "verify", "retry", "rollback"),
            "pieces": [
                _shown(piece, blocks, run=run, steps=steps, principal=principal)
                for piece in pieces_of(run.revision.source)
            ],
            "done": sum(step.state in {StepState.SUCCEEDED, StepState.SKIPPED} for step in steps.values()),
            "total": len(steps),
            "facts": [
                ("Reference", run.reference),
                ("Started by", run.trigger),
                ("Incident", run.incident_reference or None),
                *[(f"Input {name}", value) for name, value in run.inputs.items()],
            ],
        }


def _shown(
    piece: Any,
    blocks: dict[str, dict[str, Any]],
    *,
    run: RunbookRun | None = None,
    steps: dict[str, RunStep] | None = None,
    principal: Principal | None = None,
) -> Shown:
    if not piece.block_id:
        return Shown(html=mark_safe(piece.html))  # noqa: S308 sanitized by runbooks.domain.rendering
    block = blocks.get(piece.block_id)
    if block is None:
        return Shown()
    risk, arguments = "", block.get("with") or {}
    if block["kind"] in {"check", "step"}:
        risk = action(block["action"]).risk.value
        if run is not None:
            arguments = resolve_arguments(run, block)
    step = (steps or {}).get(piece.block_id)
    may_answer, refusal = False, ""
    if run is not None and step is not None and principal is not None:
        may_answer, refusal = _may_answer(run, step, principal)
    return Shown(
        block=block,
        risk=risk,
        arguments=tuple(arguments.items()),
        step=step,
        may_answer=may_answer,
        refusal=refusal,
    )


def _may_answer(run: RunbookRun, step: RunStep, principal: Principal) -> tuple[bool, str]:
    if step.state not in {StepState.WAITING, StepState.UNKNOWN}:
        return False, ""
    needed = Capability.APPROVE if step.kind == "approve" else Capability.RUNBOOK_RUN
    if not principal.may(needed, team_id=run.revision.runbook.team_id):
        who = "an approver" if needed is Capability.APPROVE else "a responder"
        return False, f"Waits for {who}."
    if step.kind == "approve" and run.operator == principal.reference:
        return False, "Waits for somebody else: you run it."
    return True, ""
