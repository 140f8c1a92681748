"""Pages: what can be taken along."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.services import principal_of
from compliance.data import ASSERTED
from compliance.forms import ApplicabilityForm
from compliance.models import Framework, Requirement
from compliance.selectors import engagements_visible, frameworks_visible
from compliance.selectors.registers import control_matrix, registers
from compliance.services.exports import (
    STATEMENT_COLUMNS,
    decide_applicability,
    statement_of_applicability,
    statement_rows,
)
from compliance.services.printing import as_csv, as_pdf
from compliance.views.base import ComplianceView, FormView
from core.clock import database_now
from core.replicas import read_as_report


def _file(content: bytes, name: str, media_type: str) -> HttpResponse:
    disposition = f'attachment; filename="{name}"'
    return HttpResponse(content, content_type=media_type, headers={"Content-Disposition": disposition})


class ExportListView(ComplianceView):
    """Everything that leaves the site as a file."""

    def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "title": "Exports",
            "intro": "Files to hand over. Evidence packs, which verify without this site, are made in an audit.",
            "frameworks": frameworks_visible(access=self.access),
            "registers": registers() if self.access.everything else [],
            "engagements": engagements_visible(access=self.access),
            "asserted": ASSERTED,
        }
        return render(request, "compliance/exports.html", context)


class RegisterFileView(ComplianceView):
    """A register as CSV."""

    def get(self, request: HttpRequest, register: str) -> HttpResponse:  # noqa: ARG002 Django's signature
        if register == "control-matrix":
            found = control_matrix(frameworks_visible(access=self.access))
        else:
            known = {one.name: one for one in registers()} if self.access.everything else {}
            if register not in known:
                raise Http404("There is no such register for you.")
            found = known[register]
        return _file(
            read_as_report(lambda _: as_csv(found.columns, found.rows())),
            f"{found.name}.csv",
            "text/csv; charset=utf-8",
        )


class StatementFileView(ComplianceView):
    """The Statement of Applicability, as PDF or CSV."""

    def get(self, request: HttpRequest, slug: str, kind: str) -> HttpResponse:  # noqa: ARG002 Django's signature
        framework: Framework = self.find(frameworks_visible(access=self.access), slug=slug)
        now = database_now()
        lines = read_as_report(lambda _: statement_of_applicability(framework, now=now))
        name = f"statement-of-applicability-{framework.slug}-{now:%Y-%m-%d}.{kind}"
        if kind == "csv":
            return _file(as_csv(STATEMENT_COLUMNS, statement_rows(lines)), name, "text/csv; charset=utf-8")
        context = {
            "title": f"Statement of Applicability: {framework.name}",
            "framework": framework,
            "lines": lines,
            "now": now,
            "asserted": ASSERTED,
        }
        return _file(as_pdf("compliance/pack/statement.html", context), name, "application/pdf")


class ApplicabilityView(FormView):
    """Say whether a requirement applies."""

    form_class = ApplicabilityForm
    heading = "Does this requirement apply?"
    intro = "The answer and its reason go into the Statement of Applicability."

    def _requirement(self) -> Requirement:
        found = Requirement.objects.select_related("framework").filter(
            framework__slug=self.kwargs["slug"], slug=self.kwargs["requirement"], retired_at__isnull=True
        )
        one = found.first()
        if one is None:
            raise Http404("There is no such requirement.")
        return one

    def back(self) -> tuple[str, str]:
        one = self._requirement()
        return str(one), reverse("compliance:requirement_detail", args=(one.framework.slug, one.slug))

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        one = self._requirement()
        decide_applicability(
            principal=principal_of(request),
            requirement=one,
            applies=form.cleaned_data["applies"] == "yes",
            justification=form.cleaned_data["justification"],
        )
        return redirect(one)
