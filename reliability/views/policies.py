"""Error-budget policies, what the gate answers now, and who let something pass all the same."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from accounts.data import Capability
from core.clock import database_now
from core.paging import asked_text, part_of
from core.parsing import InputRefusedError
from reliability.domain.policies import BUILT_IN
from reliability.forms import OverrideForm
from reliability.models import GateOverride
from reliability.selectors import (
    GATED_ACTIONS,
    GateAnswer,
    GateResult,
    gated_services,
    gates,
    overrides_visible,
    policies_in_force,
)
from reliability.services import grant_override, revoke_override
from reliability.views.access import RoomView

TONES = {GateAnswer.ALLOW: "ok", GateAnswer.DENY: "bad", GateAnswer.CANNOT_TELL: "unknown"}
SHOWN_OVERRIDES = 50
SERVICES_SHOWN = 25


@dataclass(frozen=True)
class ServiceGates:
    """A service and what the gate answers for each action."""

    service: Any
    results: list[tuple[GateResult, str]]

    @property
    def reasons(self) -> list[Any]:
        """Why an action is not allowed, each once."""
        found = {(one.slo, one.why): one for result, _ in self.results for one in result.reasons if not one.allows}
        return list(found.values())

    @property
    def overrides(self) -> list[GateOverride]:
        """What lets an action pass."""
        return [result.override for result, _ in self.results if result.override is not None]


class PolicyView(RoomView):
    """One page: the gate by service, the policies, the overrides; approvers grant one here."""

    def get(self, request: HttpRequest) -> HttpResponse:
        form = OverrideForm(principal=self.principal, initial={"service": request.GET.get("service", "")})
        return self._page(form)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = OverrideForm(request.POST, principal=self.principal)
        if not form.is_valid():
            return self._page(form)
        data = form.cleaned_data
        try:
            override = grant_override(
                principal=self.principal,
                service=data["service"],
                action=data["action"],
                reason=data["reason"],
                length=form.length,
            )
        except InputRefusedError as error:
            form.add_error(None, str(error))
            return self._page(form)
        messages.success(request, f"{override} lets {override.action} pass until {override.expires_at:%Y-%m-%d %H:%M}.")
        return redirect("reliability:policy_list")

    def _page(self, form: OverrideForm) -> HttpResponse:
        now = database_now()
        found = gated_services(viewer=self.principal, text=asked_text(self.request))
        part = part_of(self.request, found, SERVICES_SHOWN)
        services = part.records
        results = iter(gates(services=services, actions=GATED_ACTIONS, now=now))
        answers = [
            ServiceGates(service, [(one, TONES[one.answer]) for one in (next(results) for _ in GATED_ACTIONS)])
            for service in services
        ]
        approves = self.principal.may_somewhere(Capability.APPROVE)
        context = {
            "title": "Error budgets",
            "intro": "Whether budgets allow a deployment or a chaos run now, by which policy, and what passes anyway.",
            "gated": GATED_ACTIONS,
            "answers": answers,
            "part": part,
            "policies": [*policies_in_force(), BUILT_IN],
            "overrides": [
                (one, self._state(one, now)) for one in overrides_visible(viewer=self.principal)[:SHOWN_OVERRIDES]
            ],
            "form": form if approves else None,
        }
        return TemplateResponse(self.request, "reliability/policies.html", context)

    def _state(self, override: GateOverride, now: Any) -> tuple[str, bool]:
        """Return how an override stands, and whether the reader may end it."""
        if override.revoked_at is not None:
            return "revoked", False
        if override.expires_at <= now:
            return "ended", False
        if not override.is_genuine:
            return "invalid", False
        return "active", self.principal.may(Capability.APPROVE, team_id=override.service.team_id)


class OverrideEndView(RoomView):
    """End an override before it expires."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        override = overrides_visible(viewer=self.principal).filter(reference=reference).first()
        if override is None:
            raise Http404(f"There is no override {reference}, or not for you.")
        revoke_override(principal=self.principal, override=override)
        messages.success(request, f"{override} is ended.")
        return redirect("reliability:policy_list")
