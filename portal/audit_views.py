"""The audit log: who did what to whom, when, from where."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views import View

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from ledger.selectors import forwarding_standing, trail
from portal.data import AuditFilters
from portal.forms import AuditForm, read_place, written_place
from portal.selectors.audit import audit_lines, question_of
from portal.services import TrailFormat, export_audit_log

MEDIA_TYPES = {TrailFormat.CSV: "text/csv; charset=utf-8", TrailFormat.JSON_LINES: "application/jsonl"}


class AuditLogView(LoginRequiredMixin, View):
    """Entries of the ledger in words, filtered, a page at a time; POST downloads all of them."""

    def get(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        ensure_may(principal, Capability.LEDGER_VIEW)
        form = AuditForm(request.GET)
        asked = form.filters() if form.is_valid() else AuditFilters()
        found = trail(question_of(asked), after=read_place(request.GET.get("after", "")))
        kept = [(name, value) for name, value in request.GET.items() if name in form.fields and value]
        older = f"?{urlencode([*kept, ('after', written_place(found.older))])}" if found.older else ""
        context: dict[str, Any] = {
            "title": "Audit log",
            "intro": "Who did what to whom, when and from where. Each line leads to the entry that proves it.",
            "form": form,
            "lines": audit_lines(found.entries),
            "found": found,
            "older": older,
            "newest": f"?{urlencode(kept)}" if request.GET.get("after") else "",
            "narrowed": bool(kept),
            "kept": kept,
            "forwarding": forwarding_standing(now=timezone.now()),
            "may_forward": principal.may(Capability.SITE_ADMIN),
            "may_export": principal.may(Capability.LEDGER_EXPORT),
        }
        return render(request, "portal/audit_log.html", context, status=200 if form.is_valid() else 400)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        principal = principal_of(request)
        ensure_may(principal, Capability.LEDGER_EXPORT)
        form = AuditForm(request.POST)
        written = request.POST.get("format", "")
        if not form.is_valid() or written not in set(TrailFormat):
            return HttpResponse("This cannot be exported: a filter is not understood.", status=400)
        lines = export_audit_log(principal=principal, asked=form.filters(), written=TrailFormat(written))
        name = f"audit-log-{timezone.now():%Y-%m-%d-%H%M}.{written}"
        return StreamingHttpResponse(
            lines,
            content_type=MEDIA_TYPES[TrailFormat(written)],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
