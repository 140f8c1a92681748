"""Write a runbook on the site: what is wrong with it and how it will look, while it is written."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from core.clock import database_now
from core.parsing import InputRefusedError, Problem
from runbooks.domain.differences import compare
from runbooks.domain.documents import split_document
from runbooks.models import Runbook
from runbooks.selectors import latest_revision
from runbooks.services import apply_documents, parse_runbook
from runbooks.views.documents import runbook_or_404
from runbooks.views.shown import Shown, shown_document

MOST_CHARACTERS = 200_000
NAME = "runbook.md"
START = """---
runbook: a-short-name
title: What it is for, in one line
owner: {owner}
review_by: {review_by}
services: []
inputs: {{}}
---
# What it is for, in one line

Why this happens, and how one knows that it does.

```check id=is-it-so
action: http.check
with: {{url: "https://example.org/healthz"}}
timeout: 15s
```

```confirm id=seen
ask: Do customers notice?
```
"""


def judged(text: str) -> dict[str, Any]:
    """Return what is wrong with a text, and the document as far as it can be shown."""
    if len(text) > MOST_CHARACTERS:
        problem = Problem(NAME, f"{len(text)} characters", f"at most {MOST_CHARACTERS} are allowed here")
        return {"problems": [_at_line(problem)], "pieces": []}
    try:
        parsed = parse_runbook(text, source=NAME)
    except InputRefusedError as error:
        return {"problems": [_at_line(one) for one in error.problems], "pieces": _raw(text)}
    return {"problems": [], "pieces": shown_document(text, parsed.blocks), "blocks": len(parsed.blocks)}


def _at_line(problem: Problem) -> dict[str, Any]:
    place, _, path = problem.where.partition(" ")
    _, _, line = place.partition(":")
    number = line.partition(":")[0]
    return {
        "line": int(number) if number.isdigit() else None,
        "path": path,
        "what": problem.found,
        "how": problem.allowed,
    }


def _raw(text: str) -> list[Shown]:
    """Show what is broken as it is written, so that the rest can still be read."""
    blocks = {raw.id: raw for raw in split_document(text.replace("\r\n", "\n")).blocks}
    written = [{"id": name, "kind": "notify", "message": raw.text} for name, raw in blocks.items()]
    return [one if one.block is None else Shown(code=one.block["message"]) for one in shown_document(text, written)]


class PreviewView(LoginRequiredMixin, View):
    """What is wrong with a text, and how it will look."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest) -> HttpResponse:
        if not principal_of(request).may_somewhere(Capability.RUNBOOK_EDIT):
            raise PermissionDenied("Your roles do not write runbooks.")
        return render(request, "runbooks/preview.html", judged(request.POST.get("source", "")))


class _EditorView(LoginRequiredMixin, View):
    def page(self, request: HttpRequest, source: str, **more: Any) -> HttpResponse:
        context = {"source": source, "now": database_now(), **judged(source), **more}
        return render(request, "runbooks/editor.html", context, status=409 if more.get("changed") else 200)

    def save(self, request: HttpRequest, source: str, expected: str = "") -> str:
        """Put the text into force; returns its slug. Raises InputRefusedError."""
        parsed = parse_runbook(source, source=NAME)
        slug = parsed.front.runbook
        if expected and slug != expected:
            raise InputRefusedError([Problem(f"{NAME}:2 runbook", slug, f"{expected} stays the name of this runbook")])
        if not expected and Runbook.objects.filter(slug=slug).exists():
            raise InputRefusedError([Problem(f"{NAME}:2 runbook", slug, "a name that no runbook has is allowed")])
        changed = apply_documents(principal=principal_of(request), documents=[(f"{slug}.md", source)])
        messages.success(request, "It is in force." if changed else "Nothing was changed.")
        return slug


class RunbookCreateView(_EditorView):
    """Write a new runbook."""

    def get(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        if not principal.may_somewhere(Capability.RUNBOOK_EDIT):
            raise PermissionDenied("Your roles do not write runbooks.")
        review_by = (database_now() + timedelta(days=180)).date().isoformat()
        return self.page(request, START.format(owner='""', review_by=review_by), title="Write a runbook")

    def post(self, request: HttpRequest) -> HttpResponse:
        if not principal_of(request).may_somewhere(Capability.RUNBOOK_EDIT):
            raise PermissionDenied("Your roles do not write runbooks.")
        source = _text(request)
        try:
            slug = self.save(request, source)
        except InputRefusedError as error:
            refused = [_at_line(one) for one in error.problems]
            return self.page(request, source, title="Write a runbook", refused=refused)
        return redirect("runbooks:runbook_detail", slug=slug)


class RunbookEditView(_EditorView):
    """Change a runbook. A change by somebody else in between is shown, never overwritten unseen."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        runbook = self._runbook(request, slug)
        revision = latest_revision(runbook=runbook)
        return self.page(request, revision.source, title=f"Edit {runbook.title}", runbook=runbook, base=revision.sha256)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        runbook = self._runbook(request, slug)
        source, revision = _text(request), latest_revision(runbook=runbook)
        more: dict[str, Any] = {"title": f"Edit {runbook.title}", "runbook": runbook, "base": revision.sha256}
        if request.POST.get("base") != revision.sha256:
            return self.page(request, source, **more, changed=compare(revision.source, source), revision=revision)
        try:
            self.save(request, source, expected=slug)
        except InputRefusedError as error:
            return self.page(request, source, **more, refused=[_at_line(one) for one in error.problems])
        return redirect("runbooks:runbook_detail", slug=slug)

    def _runbook(self, request: HttpRequest, slug: str) -> Runbook:
        runbook = runbook_or_404(request, slug)
        ensure_may(principal_of(request), Capability.RUNBOOK_EDIT, team_id=runbook.team_id)
        return runbook


def _text(request: HttpRequest) -> str:
    return request.POST.get("source", "").replace("\r\n", "\n")
