"""Pages: what happens in an audit. Auditors and the organization meet here, each with their own moves."""

from typing import Any

import orjson
from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from accounts.services import principal_of
from compliance.forms import AnswerForm, FindingForm, MessageForm, PopulationForm, RequestForm, SampleForm
from compliance.models import AuditFinding, AuditorAccess, AuditRequest, Engagement, Evidence, Population, SampleItem
from compliance.selectors import access_of, engagements_visible, evidence_visible
from compliance.services import (
    answer_finding,
    ask_for,
    close_finding,
    draw_sample,
    freeze_population,
    judge_item,
    move_request,
    raise_finding,
)
from compliance.services.auditing import AUDITOR_MOVES, ORGANIZATION_MOVES, is_auditor_of, kinds_in_scope
from compliance.views.base import ComplianceView, FormView, note_access, watermark
from core.lists import Column, Empty, RecordListView
from core.parsing import InputRefusedError, refuse
from ledger.selectors import entries, entry_by_seq
from ledger.services import explain_proof

TONE_OF_REQUEST = {
    "open": "risk",
    "submitted": "active",
    "flagged": "bad",
    "accepted": "ok",
    "withdrawn": "plain",
}
TONE_OF_RESULT = {"untested": "unknown", "passed": "ok", "deviation": "bad", "not-applicable": "plain"}


def engagement_for(principal: Principal, slug: str) -> Engagement:
    """Return an audit that the principal may see, or answer 404."""
    found = engagements_visible(access=access_of(principal)).filter(slug=slug).first()
    if found is None:
        raise Http404("There is no such audit for you.")
    return found


class RoomFormView(FormView):
    """A form inside an audit, for its auditors and for compliance managers."""

    def check(self, request: HttpRequest) -> None:
        principal = principal_of(request)
        if not is_auditor_of(principal, self.engagement(request)):
            super().check(request)

    def engagement(self, request: HttpRequest) -> Engagement:
        """Return the audit of the address."""
        return engagement_for(principal_of(request), self.kwargs["slug"])

    def back(self) -> tuple[str, str]:
        found = self.engagement(self.request)
        return found.name, found.get_absolute_url()

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        if request.user.is_authenticated:
            note_access(request, slug=kwargs["slug"])


class RequestAddView(RoomFormView):
    """Ask for evidence."""

    form_class = RequestForm
    heading = "Ask for evidence"
    button = "Ask"

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        engagement = self.engagement(request)
        made = ask_for(principal=principal_of(request), engagement=engagement, **form.cleaned_data)
        messages.success(request, f"Asked as R-{made.number}.")
        return redirect("compliance:request_detail", engagement.slug, made.number)


class RequestDetailView(ComplianceView):
    """One request with its thread; the buttons are the moves that the reader has."""

    def _request(self, slug: str, number: int) -> AuditRequest:
        engagement = self.find(engagements_visible(access=self.access), slug=slug)
        found: AuditRequest = self.find(
            AuditRequest.objects.select_related("engagement", "control").filter(engagement=engagement), number=number
        )
        return found

    def get(self, request: HttpRequest, slug: str, number: int) -> HttpResponse:
        return self._page(request, self._request(slug, number), MessageForm())

    def post(self, request: HttpRequest, slug: str, number: int) -> HttpResponse:
        one, form, principal = self._request(slug, number), MessageForm(request.POST), principal_of(request)
        if not form.is_valid():
            return self._page(request, one, form)
        try:
            reference = form.cleaned_data["evidence"].strip()
            evidence = self._evidence(request, reference) if reference else None
            state = request.POST.get("state", "")
            move_request(
                principal=principal, request=one, state=state, text=form.cleaned_data["text"], evidence=evidence
            )
        except InputRefusedError as error:
            for problem in error.problems:
                form.add_error(
                    problem.where if problem.where in form.fields else None,
                    f"Found {problem.found}; {problem.allowed}.",
                )
            return self._page(request, one, form)
        return redirect("compliance:request_detail", slug, number)

    def _evidence(self, request: HttpRequest, reference: str) -> Evidence:
        found = evidence_visible(viewer=principal_of(request), access=self.access)
        evidence = found.filter(reference=reference, state=Evidence.State.ACCEPTED).first()
        if evidence is None:
            raise refuse("evidence", found=reference, allowed="the reference of accepted evidence is allowed")
        return evidence

    def _page(self, request: HttpRequest, one: AuditRequest, form: forms.Form) -> HttpResponse:
        principal = principal_of(request)
        auditor = is_auditor_of(principal, one.engagement)
        moves = (AUDITOR_MOVES if auditor else ORGANIZATION_MOVES).get(AuditRequest.State(one.state), set())
        may = one.engagement.closed_at is None and (auditor or principal.may(Capability.COMPLIANCE_EDIT))
        labels = {"submitted": "Hand over", "flagged": "Flag", "accepted": "Accept", "withdrawn": "Withdraw"}
        context = {
            "title": f"R-{one.number} {one.title}",
            "one": one,
            "tone": TONE_OF_REQUEST[one.state],
            "thread": one.messages.select_related("evidence"),
            "form": form,
            "moves": [(str(move), labels[move]) for move in AuditRequest.State if move in moves] if may else [],
            "may_write": may,
            "watermark": watermark(request),
        }
        return render(request, "compliance/request_detail.html", context, status=400 if form.errors else 200)


class PopulationAddView(RoomFormView):
    """Freeze a population."""

    form_class = PopulationForm
    heading = "Freeze a population"
    intro = "Everything of these kinds in the window so far, with a digest, so that a sample can be drawn again."
    button = "Freeze"

    def build(self, *given: Any, **more: Any) -> forms.Form:
        return PopulationForm(*given, kinds=kinds_in_scope(self.engagement(self.request)), **more)

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        engagement, given = self.engagement(request), form.cleaned_data
        made = freeze_population(
            principal=principal_of(request),
            engagement=engagement,
            slug=given["slug"],
            title=given["title"],
            entry_types=given["entry_types"],
        )
        return redirect("compliance:population_detail", engagement.slug, made.slug)


class PopulationDetailView(ComplianceView):
    """A frozen population, its samples, and a form to draw another."""

    def population(self, slug: str, population: str) -> Population:
        """Return it if the reader may see its audit."""
        engagement = self.find(engagements_visible(access=self.access), slug=slug)
        found: Population = self.find(
            Population.objects.select_related("engagement").filter(engagement=engagement), slug=population
        )
        return found

    def get(self, request: HttpRequest, slug: str, population: str) -> HttpResponse:
        return self._page(request, self.population(slug, population), SampleForm())

    def post(self, request: HttpRequest, slug: str, population: str) -> HttpResponse:
        found, form = self.population(slug, population), SampleForm(request.POST)
        if form.is_valid():
            try:
                sample = draw_sample(principal=principal_of(request), population=found, **form.cleaned_data)
            except InputRefusedError as error:
                form.add_error("size", f"Found {error.problems[0].found}; {error.problems[0].allowed}.")
            else:
                return redirect("compliance:sample_detail", slug, population, sample.pk)
        return self._page(request, found, form)

    def _page(self, request: HttpRequest, found: Population, form: forms.Form) -> HttpResponse:
        principal = principal_of(request)
        may = is_auditor_of(principal, found.engagement) or principal.may(Capability.COMPLIANCE_EDIT)
        context = {
            "title": found.title,
            "population": found,
            "first": found.items[:50],
            "samples": found.samples.all(),
            "form": form,
            "may_draw": may and found.engagement.closed_at is None and found.count,
            "watermark": watermark(request),
        }
        return render(request, "compliance/population_detail.html", context, status=400 if form.errors else 200)


class SampleDetailView(PopulationDetailView):
    """The testing sheet of a sample."""

    def get(self, request: HttpRequest, slug: str, population: str, pk: int = 0) -> HttpResponse:
        found = self.population(slug, population)
        sample = self.find(found.samples.all(), pk=pk)
        items = list(sample.items.all())
        seen = {entry.seq: entry for entry in entries().filter(seal__seq__in=[item.seq for item in items])}
        context = {
            "title": f"Sample of {sample.size} from {found.title}",
            "population": found,
            "sample": sample,
            "rows": [(item, seen.get(item.seq), TONE_OF_RESULT[item.result]) for item in items],
            "results": SampleItem.Result.choices,
            "may_test": is_auditor_of(principal_of(request), found.engagement),
            "tested": sum(item.result != SampleItem.Result.UNTESTED for item in items),
            "deviations": sum(item.result == SampleItem.Result.DEVIATION for item in items),
            "watermark": watermark(request),
        }
        return render(request, "compliance/sample_detail.html", context)

    def post(self, request: HttpRequest, slug: str, population: str, pk: int = 0) -> HttpResponse:
        sample = self.find(self.population(slug, population).samples.all(), pk=pk)
        number = request.POST.get("item", "")
        item = self.find(sample.items.all(), pk=int(number) if number.isdecimal() else 0)
        try:
            judge_item(
                principal=principal_of(request),
                item=item,
                result=request.POST.get("result", ""),
                note=request.POST.get("note", ""),
            )
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect("compliance:sample_detail", slug, population, pk)


class PopulationEntryView(PopulationDetailView):
    """One entry of a population with its proof in words."""

    def get(self, request: HttpRequest, slug: str, population: str, seq: int = 0) -> HttpResponse:
        found = self.population(slug, population)
        entry = entry_by_seq(seq) if seq in found.items else None
        if entry is None:
            raise Http404("This entry is not in the population.")
        payload = entry.payload
        context = {
            "title": f"Entry {seq}",
            "population": found,
            "entry": entry,
            "content": None if payload is None else orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode(),
            "proof": explain_proof(entry),
            "watermark": watermark(request),
        }
        return render(request, "compliance/population_entry.html", context)

    def post(self, request: HttpRequest, slug: str, population: str, seq: int = 0) -> HttpResponse:
        return self.http_method_not_allowed(request, slug, population, seq)


class FindingAddView(RoomFormView):
    """Raise a finding."""

    form_class = FindingForm
    heading = "Raise a finding"
    button = "Raise"

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        engagement = self.engagement(request)
        made = raise_finding(principal=principal_of(request), engagement=engagement, **form.cleaned_data)
        return redirect("compliance:finding_detail", engagement.slug, made.number)


class FindingDetailView(ComplianceView):
    """One finding with the management's answer."""

    def _finding(self, slug: str, number: int) -> AuditFinding:
        engagement = self.find(engagements_visible(access=self.access), slug=slug)
        found: AuditFinding = self.find(
            AuditFinding.objects.select_related("engagement", "control").filter(engagement=engagement), number=number
        )
        return found

    def get(self, request: HttpRequest, slug: str, number: int) -> HttpResponse:
        return self._page(request, self._finding(slug, number), AnswerForm())

    def post(self, request: HttpRequest, slug: str, number: int) -> HttpResponse:
        finding, principal = self._finding(slug, number), principal_of(request)
        if request.POST.get("do") == "close":
            close_finding(principal=principal, finding=finding)
            return redirect("compliance:finding_detail", slug, number)
        form = AnswerForm(request.POST)
        if not form.is_valid():
            return self._page(request, finding, form)
        answer_finding(principal=principal, finding=finding, **form.cleaned_data)
        return redirect("compliance:finding_detail", slug, number)

    def _page(self, request: HttpRequest, finding: AuditFinding, form: forms.Form) -> HttpResponse:
        principal = principal_of(request)
        editor = principal.may(Capability.COMPLIANCE_EDIT)
        auditor = is_auditor_of(principal, finding.engagement)
        context = {
            "title": f"F-{finding.number} {finding.title}",
            "finding": finding,
            "form": form,
            "may_answer": editor and finding.status == "open",
            "may_close": (editor or auditor)
            and finding.status == "answered"
            and not is_same_person(principal, reference=finding.responded_by),
            "watermark": watermark(request),
        }
        return render(request, "compliance/finding_detail.html", context, status=400 if form.errors else 200)


class AccessListView(RecordListView):
    """What auditors looked at."""

    title = "Access log"
    intro = "Every page of this audit that an auditor opened."
    noun = "looks"
    columns = (
        Column("at", "When", lambda one: one.at, kind="time", order_by=("at",)),
        Column("user", "Who", lambda one: str(one.user), kind="strong", order_by=("user__username",)),
        Column("method", "How", lambda one: one.method),
        Column("path", "What", lambda one: one.path, kind="code", order_by=("path",)),
    )
    search_fields = ("path", "user__username")
    default_sort = "-at"
    empty = Empty("No auditor has looked yet.")

    def may_view(self, principal: Principal) -> bool:
        return access_of(principal).everything

    def get_records(self) -> Any:
        engagement = engagement_for(principal_of(self.request), self.kwargs["slug"])
        return AuditorAccess.objects.filter(engagement=engagement).select_related("user")


def room_links(engagement: Engagement) -> dict[str, Any]:
    """Return what an audit's own page shows of its room."""
    return {
        "requests": [(one, TONE_OF_REQUEST[one.state]) for one in engagement.requests.all()],
        "populations": engagement.populations.all(),
        "findings": engagement.findings.all(),
        "access_url": reverse("compliance:access_list", args=[engagement.slug]),
    }
