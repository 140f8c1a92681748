"""Exclusions: asked for with a preview of what they change, decided by another person."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from accounts.data import Capability
from accounts.services import principal_of
from catalog.selectors import service_by_slug
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from reliability.forms import ExclusionForm
from reliability.models import Exclusion
from reliability.navigation import may_view
from reliability.selectors import exclusions_visible, slo_by_slug
from reliability.selectors.exclusion_effects import exclusion_effects
from reliability.services import (
    Stretch,
    approve_exclusion,
    preview_exclusion,
    reject_exclusion,
    request_exclusion,
    withdraw_exclusion,
)
from reliability.views.access import RoomView

DECISIONS = {"approve": approve_exclusion, "reject": reject_exclusion, "withdraw": withdraw_exclusion}


class ExclusionListView(RecordListView):
    """Every exclusion, in any state."""

    title = "Exclusions"
    intro = "Time that does not count against a budget: asked for by one person, approved by another, never deleted."
    noun = "exclusions"
    columns = (
        Column(
            "reference",
            "Reference",
            lambda one: one.reference,
            kind="strong",
            order_by=("pk",),
            href=lambda one: reverse("reliability:exclusion_detail", args=[one.reference]),
        ),
        Column("state", "State", lambda one: one.get_state_display(), kind="state", order_by=("state",)),
        Column("subject", "For", lambda one: one.subject),
        Column("starts", "From", lambda one: one.starts_at, kind="time", order_by=("starts_at",)),
        Column("length", "Length", lambda one: one.ends_at - one.starts_at, kind="duration"),
        Column("recurrence", "Again", lambda one: one.recurrence, kind="code", wide_only=True),
        Column("reason", "Why", lambda one: one.reason),
        Column("by", "Asked for by", lambda one: one.requested_by, order_by=("requested_by",)),
        Column("decided", "Decided by", lambda one: one.decided_by, wide_only=True),
    )
    filters = (Filter("state", "State", Exclusion.State.choices),)
    search_fields = ("reference", "reason", "requested_by", "slo__name", "service__name")
    default_sort = "-reference"

    def get_empty(self) -> Empty:
        """Say what an exclusion is for, and lead whoever may ask for one to it."""
        sentence = (
            "No time is excluded. Announced maintenance, or a fault that was not the service's, need not count "
            "against a budget: one person asks for it, another approves."
        )
        if principal_of(self.request).may_somewhere(Capability.SLO_EXCLUDE):
            return Empty(sentence, link_label="Ask for an exclusion", link_url=reverse("reliability:exclusion_add"))
        return Empty(f"{sentence} Approvers and administrators may ask.")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Exclusion]:
        return exclusions_visible(viewer=principal_of(self.request))

    def get_actions(self) -> Sequence[Action]:
        if principal_of(self.request).may_somewhere(Capability.SLO_EXCLUDE):
            return (Action("Ask for an exclusion", reverse("reliability:exclusion_add"), icon="calendar-time"),)
        return ()


class ExclusionAddView(RoomView):
    """Ask that time does not count; what it would change is shown before."""

    def get(self, request: HttpRequest) -> HttpResponse:
        self._ensure_may_ask()
        now = timezone.localtime(database_now())
        initial: dict[str, Any] = {"starts_at": now - timedelta(hours=1), "ends_at": now}
        if slug := request.GET.get("slo", ""):
            initial["subject"] = f"slo:{slug}"
        if reference := request.GET.get("replaces", ""):
            initial |= ExclusionForm.filled_from(_find(self, reference))
        return self._page(ExclusionForm(initial=initial, principal=self.principal))

    def post(self, request: HttpRequest) -> HttpResponse:
        self._ensure_may_ask()
        form = ExclusionForm(request.POST, principal=self.principal)
        if not form.is_valid():
            return self._page(form)
        asked = self._asked(form.cleaned_data)
        try:
            if "preview" in request.POST:
                return self._page(form, preview_exclusion(principal=self.principal, **asked))
            exclusion = request_exclusion(principal=self.principal, **asked)
        except InputRefusedError as error:
            form.add_error(None, str(error))
            return self._page(form)
        messages.success(request, f"{exclusion} is asked for; another person decides.")
        return redirect("reliability:exclusion_detail", exclusion.reference)

    def _asked(self, data: dict[str, Any]) -> dict[str, Any]:
        kind, _, slug = data["subject"].partition(":")
        stretch = Stretch(data["starts_at"], data["ends_at"], data["recurrence"], data["zone"])
        return {
            "stretch": stretch,
            "reason": data["reason"],
            "slo": slo_by_slug(slug=slug) if kind == "slo" else None,
            "service": service_by_slug(slug=slug) if kind == "service" else None,
            "replaces": _find(self, data["replaces"]) if data["replaces"] else None,
        }

    def _ensure_may_ask(self) -> None:
        if not self.principal.may_somewhere(Capability.SLO_EXCLUDE):
            raise PermissionDenied("Your roles do not ask for exclusions; approvers and administrators may.")

    def _page(self, form: ExclusionForm, effects: Sequence[Any] | None = None) -> HttpResponse:
        context = {
            "title": "Ask for an exclusion",
            "form": form,
            "effects": effects,
            "cancel_url": reverse("reliability:exclusion_list"),
        }
        return TemplateResponse(self.request, "reliability/exclusion_form.html", context)


class ExclusionDetailView(RoomView):
    """One exclusion: what it changes, who asked, who decided, what it replaced."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:  # noqa: ARG002 Django's signature
        return self._page(_find(self, reference))

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        exclusion = _find(self, reference)
        decide = DECISIONS.get(request.POST.get("decision", ""))
        if decide is None:
            raise Http404("There is no such decision.")
        try:
            decide(principal=self.principal, exclusion=exclusion)
        except InputRefusedError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, f"{exclusion} is {exclusion.get_state_display().lower()}.")
        return redirect("reliability:exclusion_detail", exclusion.reference)

    def _page(self, exclusion: Exclusion) -> HttpResponse:
        team = (exclusion.slo.service if exclusion.slo else exclusion.service).team_id  # type: ignore[union-attr]
        own = self.principal.user_id is not None and self.principal.user_id == exclusion.requester_id
        requested = exclusion.state == Exclusion.State.REQUESTED
        context = {
            "title": exclusion.reference,
            "exclusion": exclusion,
            "effects": exclusion_effects(exclusion=exclusion),
            "replaced_by": exclusion.replaced_by.all(),
            "own": own and requested,
            "may_decide": requested and not own and self.principal.may(Capability.APPROVE, team_id=team),
            "may_withdraw": exclusion.state in {Exclusion.State.REQUESTED, Exclusion.State.APPROVED}
            and self.principal.may(Capability.SLO_EXCLUDE, team_id=team),
            "may_replace": exclusion.state == Exclusion.State.APPROVED
            and self.principal.may(Capability.SLO_EXCLUDE, team_id=team),
        }
        return TemplateResponse(self.request, "reliability/exclusion_detail.html", context)


def _find(view: RoomView, reference: str) -> Exclusion:
    found = exclusions_visible(viewer=view.principal).filter(reference=reference).first()
    if found is None:
        raise Http404(f"There is no exclusion {reference}, or not for you.")
    return found
