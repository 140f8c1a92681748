"""A runbook as a document: what a run would do, how it fared, and what changed."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.data import Capability
from accounts.selectors import name_of
from accounts.services import principal_of
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import InputRefusedError
from runbooks.data import PlannedBlock
from runbooks.domain.differences import compare
from runbooks.forms import StartForm
from runbooks.models import Runbook, RunbookRevision
from runbooks.selectors import latest_revision, runbooks_visible, runs_visible, step_records, with_standing
from runbooks.services import plan_run, start_run
from runbooks.views.library import review_state
from runbooks.views.shown import shown_document

REVISIONS_SHOWN = 100


def runbook_or_404(request: HttpRequest, slug: str) -> Runbook:
    """Return a runbook that the reader may see."""
    found = with_standing(runbooks_visible(viewer=principal_of(request))).prefetch_related("services")
    runbook = found.filter(slug=slug).first()
    if runbook is None:
        raise Http404
    return runbook


class RunbookDetailView(LoginRequiredMixin, View):
    """The document with its blocks, what a run with some inputs would do, and the form that starts one."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        return self._page(request, runbook_or_404(request, slug))

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        runbook, principal = runbook_or_404(request, slug), principal_of(request)
        form = StartForm(request.POST, inputs=latest_revision(runbook=runbook).inputs)
        if not form.is_valid():
            return self._page(request, runbook, form)
        try:
            if request.POST.get("action") == "preview":
                planned = plan_run(principal=principal, runbook_slug=slug, inputs=form.given())
                return self._page(request, runbook, form, planned)
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

    def _page(
        self,
        request: HttpRequest,
        runbook: Runbook,
        form: StartForm | None = None,
        planned: list[PlannedBlock] | None = None,
    ) -> HttpResponse:
        revision, principal = latest_revision(runbook=runbook), principal_of(request)
        context = {
            "title": runbook.title,
            "runbook": runbook,
            "revision": revision,
            "now": database_now(),
            "review": review_state(runbook),
            "pieces": shown_document(revision.source, revision.blocks, planned=planned or ()),
            "planned": planned,
            "problems": sum(bool(one.problem) for one in planned or ()),
            "form": form or StartForm(inputs=revision.inputs),
            "key": new_id("start"),
            "may_run": principal.may(Capability.RUNBOOK_RUN, team_id=runbook.team_id),
            "may_edit": principal.may(Capability.RUNBOOK_EDIT, team_id=runbook.team_id),
            "runs": runs_visible(viewer=principal).filter(revision__runbook=runbook)[:6],
            "services": [(one.name, one.slug) for one in runbook.services.all()],
            "author": name_of(revision.author),
        }
        return render(request, "runbooks/runbook_detail.html", context)


class HistoryView(LoginRequiredMixin, View):
    """How often a runbook went well, and how long each step takes."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        runbook = runbook_or_404(request, slug)
        records = step_records(runbook=runbook)
        context = {
            "title": f"History of {runbook.title}",
            "runbook": runbook,
            "now": database_now(),
            "records": records,
            "longest": max((one.longest_seconds or 0 for one in records), default=0),
            "runs": runs_visible(viewer=principal_of(request)).filter(revision__runbook=runbook)[:50],
            "ratio": _ratio(runbook),
        }
        return render(request, "runbooks/runbook_history.html", context)


def _ratio(runbook: Any) -> float | None:
    return runbook.succeeded_count / runbook.run_count if runbook.run_count else None


class RevisionsView(LoginRequiredMixin, View):
    """The revisions of a runbook, and the lines that differ between two of them."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        runbook = runbook_or_404(request, slug)
        revisions = list(runbook.revisions.order_by("-created_at", "-pk")[:REVISIONS_SHOWN])
        new = _chosen(revisions, request.GET.get("to", ""), 0)
        old = _chosen(revisions, request.GET.get("from", ""), revisions.index(new) + 1)
        names = {one.author: name_of(one.author) for one in revisions}
        context = {
            "title": f"Revisions of {runbook.title}",
            "runbook": runbook,
            "now": database_now(),
            "rows": [
                (one, names[one.author], revisions[position + 1] if position + 1 < len(revisions) else None)
                for position, one in enumerate(revisions)
            ],
            "old": old,
            "new": new,
            "lines": compare(old.source, new.source) if old is not None and old.pk != new.pk else [],
        }
        return render(request, "runbooks/runbook_revisions.html", context)


def _chosen(revisions: list[RunbookRevision], sha256: str, otherwise: int) -> Any:
    named = next((one for one in revisions if sha256 and one.sha256.startswith(sha256)), None)
    if named is None and sha256:
        raise Http404
    return named or (revisions[otherwise] if otherwise < len(revisions) else None)
