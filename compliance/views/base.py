"""What the room's pages share."""

from functools import cached_property
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views import View

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from compliance.data import EXPLANATIONS, TONES, WORDS, Access, Standing
from compliance.models import AuditorAccess, Engagement
from compliance.selectors import access_of, may_open_reviews
from core.clock import database_now
from core.parsing import InputRefusedError

LEGEND = [(WORDS[one], TONES[one].value, EXPLANATIONS[one]) for one in Standing]


class ComplianceView(LoginRequiredMixin, View):
    """A page that opens for those who may see something of compliance, and shows them that much."""

    @cached_property
    def access(self) -> Access:
        """What the reader may see."""
        found = access_of(principal_of(self.request))
        if not found.anything:
            raise PermissionDenied(
                "Compliance is open to compliance managers, administrators, and auditors with a grant for an audit."
            )
        return found

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        if request.user.is_authenticated and response.status_code < 400:
            note_access(request, slug=str(kwargs.get("slug", "")) if request.path.startswith("/audits/") else "")
        return response

    def find(self, records: QuerySet[Any], **wanted: Any) -> Any:
        """Return the one record that the reader may see, or answer 404."""
        found = records.filter(**wanted).first()
        if found is None:
            raise Http404("There is no such page for you.")
        return found


def note_access(request: HttpRequest, *, slug: str = "") -> None:
    """Note what an auditor looked at; their access log is part of the audit."""
    principal = principal_of(request)
    access = access_of(principal)
    if access.everything or not access.engagement_ids or request.user.pk is None:
        return
    engagement = Engagement.objects.filter(slug=slug, pk__in=access.engagement_ids).first() if slug else None
    AuditorAccess.objects.create(
        user_id=request.user.pk,
        engagement=engagement,
        method=request.method or "",
        path=request.path[:300],
        at=database_now(),
    )


def watermark(request: HttpRequest) -> str:
    """Return what is printed on pages that an auditor sees."""
    principal = principal_of(request)
    return "" if access_of(principal).everything else f"For {principal.label}, {database_now():%Y-%m-%d %H:%M} UTC."


class ReviewView(LoginRequiredMixin, View):
    """A page about what waits for a second pair of eyes: for those who see compliance, and for approvers."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not may_open_reviews(principal_of(request)):
            raise PermissionDenied("Open to compliance managers, administrators, approvers, and granted auditors.")
        return super().dispatch(request, *args, **kwargs)


class FormView(LoginRequiredMixin, View):
    """A page with one form; nothing that was typed is lost when it is refused."""

    form_class: ClassVar[type[forms.Form]]
    heading: ClassVar[str] = ""
    intro: ClassVar[str] = ""
    button: ClassVar[str] = "Save"
    capability: ClassVar[Capability] = Capability.COMPLIANCE_EDIT

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            self.check(request)
        return super().dispatch(request, *args, **kwargs)

    def check(self, request: HttpRequest) -> None:
        """Raise PermissionDenied unless the reader may use the form."""
        ensure_may(principal_of(request), self.capability)

    def initial(self) -> dict[str, Any]:
        """Return what the form says at first."""
        return {}

    def back(self) -> tuple[str, str]:
        """Return label and address of the page before."""
        return "Compliance", reverse("compliance:overview")

    def build(self, *given: Any, **more: Any) -> forms.Form:
        """Return the form."""
        return self.form_class(*given, **more)

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        """Do what a valid form asks for; raise InputRefusedError to show the problem."""
        raise NotImplementedError

    def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        return self._page(request, self.build(initial=self.initial()))

    def post(self, request: HttpRequest, **_: Any) -> HttpResponse:
        form = self.build(request.POST, request.FILES)
        if form.is_valid():
            try:
                return self.perform(request, form)
            except InputRefusedError as error:
                for problem in error.problems:
                    named = problem.where if problem.where in form.fields else None
                    form.add_error(named, f"Found {problem.found}; {problem.allowed}.")
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: forms.Form) -> HttpResponse:
        label, url = self.back()
        context = {
            "title": self.heading,
            "intro": self.intro,
            "form": form,
            "button": self.button,
            "back_label": label,
            "back_url": url,
        }
        return render(request, "compliance/form.html", context, status=400 if form.errors else 200)
