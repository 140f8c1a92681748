"""Pages: evidence that was handed in, and exceptions; both wait for a second pair of eyes."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from accounts.services import principal_of
from compliance.forms import EvidenceForm, ExceptionForm, ReasonForm, start_of
from compliance.models import Control, ControlException, Evidence
from compliance.selectors import (
    access_of,
    controls_visible,
    evidence_visible,
    exceptions_visible,
    may_open_reviews,
)
from compliance.services import (
    accept_evidence,
    approve_exception,
    reject_evidence,
    reject_exception,
    request_exception,
    submit_evidence,
)
from compliance.views.base import FormView, ReviewView
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from core.templatetags.assay import state
from ledger.services import read_artifact

TONE_OF_EVIDENCE = {
    Evidence.State.SUBMITTED: "risk",
    Evidence.State.ACCEPTED: "ok",
    Evidence.State.REJECTED: "bad",
    Evidence.State.QUARANTINED: "bad",
    Evidence.State.SUPERSEDED: "plain",
}


class EvidenceListView(RecordListView):
    """What was handed in."""

    title = "Evidence handed in"
    intro = "Files and attestations for what operations do not record by themselves. Each counts once accepted."
    noun = "evidence"
    columns = (
        Column(
            "title",
            "Evidence",
            lambda e: e.title,
            kind="strong",
            order_by=("title",),
            href=lambda e: e.get_absolute_url(),
        ),
        Column(
            "state",
            "State",
            lambda e: e.get_state_display(),
            order_by=("state",),
            render=lambda e: state(e.state, word=e.get_state_display(), tone=TONE_OF_EVIDENCE[e.state]),
        ),
        Column("control", "Control", lambda e: e.control.title, order_by=("control__title",)),
        Column("kind", "Kind", lambda e: e.get_kind_display(), order_by=("kind",)),
        Column("period_end", "Speaks up to", lambda e: e.period_end, kind="time", order_by=("period_end",)),
        Column("received", "Received", lambda e: e.received_at, kind="time", order_by=("received_at",)),
        Column("by", "From", lambda e: e.submitted_by_label, wide_only=True),
        Column("sha256", "SHA-256", lambda e: e.sha256, kind="code", shown=False),
    )
    filters = (Filter("state", "State", Evidence.State.choices), Filter("kind", "Kind", Evidence.Kind.choices))
    search_fields = ("title", "reference", "control__title")
    default_sort = "-received"
    empty = Empty("No evidence has been handed in. Open a control and choose “Add evidence”.")

    def may_view(self, principal: Principal) -> bool:
        return may_open_reviews(principal)

    def get_records(self) -> QuerySet[Evidence]:
        principal = principal_of(self.request)
        return evidence_visible(viewer=principal, access=access_of(principal))


class EvidenceAddView(FormView):
    """Hand in evidence for a control."""

    form_class = EvidenceForm
    heading = "Add evidence"
    button = "Hand in for review"
    capability = Capability.COMPLIANCE_EDIT

    def control(self, request: HttpRequest, slug: str) -> Control:
        """Return the control that the evidence is for."""
        found = controls_visible(access=access_of(principal_of(request))).filter(slug=slug).first()
        if found is None:
            raise Http404("There is no such control.")
        return found

    def initial(self) -> dict[str, Any]:
        return {"period_end": database_now().date(), "period_start": database_now().date()}

    def back(self) -> tuple[str, str]:
        control = self.control(self.request, self.kwargs["slug"])
        return control.title, control.get_absolute_url()

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        found = submit_evidence(
            principal=principal_of(request),
            control=self.control(request, self.kwargs["slug"]),
            submission=form.submission(),
        )
        if found.state == Evidence.State.QUARANTINED:
            messages.error(request, f"Put aside, it does not count: {found.reason}.")
        else:
            messages.success(request, "Handed in. It counts once somebody else has accepted it.")
        return redirect(found)


class SubmittedDetailView(ReviewView):
    """One piece of evidence with its four times; the reviewer's buttons."""

    def evidence(self, request: HttpRequest, reference: str) -> Evidence:
        """Return it if the reader may see it."""
        principal = principal_of(request)
        found = evidence_visible(viewer=principal, access=access_of(principal)).filter(reference=reference).first()
        if found is None:
            raise Http404("There is no such evidence for you.")
        return found

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        return self._page(request, self.evidence(request, reference), ReasonForm())

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        evidence, principal = self.evidence(request, reference), principal_of(request)
        try:
            if request.POST.get("do") == "accept":
                accept_evidence(principal=principal, evidence=evidence)
                messages.success(request, "Accepted; it counts from now on.")
            else:
                form = ReasonForm(request.POST)
                if not form.is_valid():
                    return self._page(request, evidence, form)
                reject_evidence(principal=principal, evidence=evidence, reason=form.cleaned_data["reason"])
                messages.success(request, "Rejected; the sender sees the reason.")
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect(evidence)

    def _page(self, request: HttpRequest, evidence: Evidence, form: ReasonForm) -> HttpResponse:
        principal = principal_of(request)
        own = is_same_person(principal, reference=evidence.submitted_by)
        may = principal.may(Capability.APPROVE) or principal.may(Capability.COMPLIANCE_EDIT)
        waiting = evidence.state == Evidence.State.SUBMITTED
        context = {
            "title": evidence.title,
            "evidence": evidence,
            "tone": TONE_OF_EVIDENCE[Evidence.State(evidence.state)],
            "form": form,
            "may_review": may and waiting and not own,
            "why_not": "You handed it in; somebody else must review it." if own and waiting else "",
            "controls_open": access_of(principal).anything,
        }
        return render(request, "compliance/submitted_detail.html", context)


class SubmittedFileView(SubmittedDetailView):
    """The file of evidence, always as a download."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        evidence = self.evidence(request, reference)
        content = read_artifact(evidence.sha256) if evidence.sha256 else None
        if content is None:
            raise Http404("This evidence has no file.")
        response = HttpResponse(content, content_type="application/octet-stream")
        response["Content-Disposition"] = f'attachment; filename="{evidence.reference}"'
        return response

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        return self.http_method_not_allowed(request, reference)


def _exception_state(one: ControlException) -> str:
    return one.state_at(database_now())


TONE_OF_EXCEPTION = {"waiting": "risk", "approved": "frozen", "expired": "plain", "rejected": "plain"}


class ExceptionListView(RecordListView):
    """Deviations that somebody accepts for a while."""

    title = "Exceptions"
    intro = "Each ends on a day, and counts only while approved by somebody other than who asked."
    noun = "exceptions"
    columns = (
        Column(
            "reason",
            "Why",
            lambda e: e.reason[:120],
            kind="strong",
            href=lambda e: e.get_absolute_url(),
        ),
        Column("control", "Control", lambda e: e.control.title, order_by=("control__title",)),
        Column("covers", "Covers", lambda e: e.covers, kind="code", wide_only=True),
        Column(
            "state",
            "State",
            _exception_state,
            render=lambda e: state(_exception_state(e), tone=TONE_OF_EXCEPTION[_exception_state(e)]),
        ),
        Column("ends", "Ends", lambda e: e.expires_at, kind="time", order_by=("expires_at",)),
    )
    search_fields = ("reason", "control__title", "covers")
    default_sort = "ends"
    empty = Empty("No exception has been asked for.")

    def may_view(self, principal: Principal) -> bool:
        return may_open_reviews(principal)

    def get_records(self) -> QuerySet[ControlException]:
        principal = principal_of(self.request)
        return exceptions_visible(viewer=principal, access=access_of(principal))

    def get_actions(self) -> Sequence[Action]:
        if principal_of(self.request).may(Capability.COMPLIANCE_EDIT):
            return (Action("Ask for an exception", reverse("compliance:exception_add")),)
        return ()


class ExceptionAddView(FormView):
    """Ask for an exception."""

    form_class = ExceptionForm
    heading = "Ask for an exception"
    button = "Ask for approval"
    capability = Capability.COMPLIANCE_EDIT

    def initial(self) -> dict[str, Any]:
        return {"control": self.request.GET.get("control", ""), "covers": self.request.GET.get("covers", "")}

    def back(self) -> tuple[str, str]:
        return "Exceptions", reverse("compliance:exception_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given = form.cleaned_data
        found = request_exception(
            principal=principal_of(request),
            control=given["control"],
            reason=given["reason"],
            compensation=given["compensation"],
            covers=given["covers"],
            expires_at=start_of(given["expires_on"]),
        )
        messages.success(request, "Asked for. It counts once somebody else has approved it.")
        return redirect(found)


class ExceptionDetailView(ReviewView):
    """One exception; approve or reject it."""

    def exception(self, request: HttpRequest, pk: int) -> ControlException:
        """Return it if the reader may see it."""
        principal = principal_of(request)
        found = exceptions_visible(viewer=principal, access=access_of(principal)).filter(pk=pk).first()
        if found is None:
            raise Http404("There is no such exception for you.")
        return found

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        found, principal = self.exception(request, pk), principal_of(request)
        standing = _exception_state(found)
        own = is_same_person(principal, reference=found.requested_by)
        context = {
            "title": f"Exception for {found.control.title}",
            "exception": found,
            "state": standing,
            "tone": TONE_OF_EXCEPTION[standing],
            "may_approve": standing == "waiting" and principal.may(Capability.APPROVE) and not own,
            "why_not": "Somebody with the role approver, other than who asked, must approve it."
            if standing == "waiting"
            else "",
            "controls_open": access_of(principal).anything,
        }
        return render(request, "compliance/exception_detail.html", context)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        found, principal = self.exception(request, pk), principal_of(request)
        if not principal.may(Capability.APPROVE):
            raise PermissionDenied("Approvers settle exceptions.")
        try:
            if request.POST.get("do") == "approve":
                approve_exception(principal=principal, exception=found)
                messages.success(request, "Approved; it counts until it ends.")
            else:
                reject_exception(principal=principal, exception=found)
                messages.success(request, "Rejected; it never counts.")
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect(found)
