"""Pages of production readiness: which service shows what."""

from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from accounts.services import principal_of
from catalog.selectors import services_named
from compliance.domain.scorecards import Phase, Verdict
from compliance.forms import WaiverForm
from compliance.models import ScorecardWaiver
from compliance.selectors import access_of
from compliance.selectors.scorecards import scorecards
from compliance.services.waivers import approve_waiver, request_waiver
from compliance.views.base import ComplianceView, FormView
from core.clock import database_now
from core.paging import asked_text, part_of
from core.parsing import InputRefusedError

SERVICES_SHOWN = 24
TONES = {Verdict.SHOWN: "ok", Verdict.WAIVED: "frozen", Verdict.FAILED: "bad", Verdict.MISSING: "unknown"}
SHORT = {Verdict.SHOWN: "shown", Verdict.WAIVED: "waived", Verdict.FAILED: "failed", Verdict.MISSING: "missing"}


def sees_scorecards(principal: Principal) -> bool:
    """Say whether somebody may see how ready services are: whoever sees services, and compliance."""
    return access_of(principal).everything or principal.teams_where(Capability.OPERATIONS_VIEW) != frozenset()


class ScorecardView(ComplianceView):
    """How ready is each service?"""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not sees_scorecards(principal_of(request)):
            raise PermissionDenied("Scorecards are open to those who see services, and to compliance managers.")
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        principal, now = principal_of(request), database_now()
        part = part_of(request, services_named(asked_text(request), viewer=principal), SERVICES_SHOWN)
        cards = scorecards(part.records, now=now)
        phases = []
        for phase in Phase:
            rows = []
            items = [one.item for card in cards[:1] for one in _items(card, phase)]
            for item in items:
                cells = []
                for card in cards:
                    found = next((one for one in _items(card, phase) if one.item.name == item.name), None)
                    cells.append(_cell(found) if found else {"text": "not asked", "tone": "plain"})
                rows.append({"label": item.title, "cells": cells})
            phases.append((phase.value, rows))
        waivers = ScorecardWaiver.objects.filter(expires_at__gt=now).select_related("service")
        context = {
            "title": "Production readiness",
            "intro": "What each service shows in the ledger, phase by phase. What is not recorded is not shown.",
            "columns": [card.service.name for card in cards],
            "phases": phases,
            "part": part,
            "cards": [
                (card, card.reached.value if card.reached else "not yet", "ok" if card.reached else "risk")
                for card in cards
            ],
            "waivers": [
                (
                    one,
                    one.approved_at is None
                    and principal.may(Capability.APPROVE)
                    and not is_same_person(principal, reference=one.requested_by),
                )
                for one in waivers
            ],
            "may_edit": principal.may(Capability.COMPLIANCE_EDIT),
        }
        return render(request, "compliance/scorecards.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        number = request.POST.get("waiver", "")
        waiver = self.find(
            ScorecardWaiver.objects.select_related("service"), pk=int(number) if number.isdecimal() else 0
        )
        try:
            approve_waiver(principal=principal_of(request), waiver=waiver)
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect("compliance:scorecard_list")


def _items(card: Any, phase: Phase) -> Any:
    return next(one.items for one in card.phases if one.phase is phase)


def _cell(found: Any) -> dict[str, str]:
    when = f", {found.at:%Y-%m-%d}" if found.at else ""
    return {
        "text": f"{SHORT[found.verdict]}{when}",
        "tone": TONES[found.verdict],
        "title": found.reason or found.item.title,
    }


class WaiverAddView(FormView):
    """Ask for a waiver."""

    form_class = WaiverForm
    heading = "Ask for a waiver"
    intro = "The service need not show this for a while. It counts once somebody else approves it."

    def back(self) -> tuple[str, str]:
        return "Production readiness", reverse("compliance:scorecard_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given = dict(form.cleaned_data)
        expires = datetime.combine(given.pop("expires_on"), time.max, UTC)
        request_waiver(principal=principal_of(request), expires_at=expires, **given)
        return redirect("compliance:scorecard_list")
