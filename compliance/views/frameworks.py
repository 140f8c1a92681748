"""Pages: what will pass, and what each requirement rests on."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.data import Capability
from accounts.services import principal_of
from compliance.data import (
    ASSERTED,
    SHORT,
    TONES,
    WORDS,
    ComingDue,
    ControlStanding,
    RequirementStanding,
    Standing,
)
from compliance.models import Applicability, Framework, RequirementText
from compliance.selectors import (
    coming_due,
    control_standings,
    controls_visible,
    frameworks_visible,
    months_before,
    requirement_standings,
    requirement_standings_over,
    window_to,
)
from compliance.selectors.scorecards import evidence_share
from compliance.views.base import LEGEND, ComplianceView
from core.clock import database_now

MONTHS = 6
TO_MEND = {Standing.NOT_OPERATING, Standing.STALE, Standing.COLLECTOR_SILENT}


class OverviewView(ComplianceView):
    """Will we pass, and what breaks it?"""

    def get(self, request: HttpRequest) -> HttpResponse:
        now = database_now()
        window = window_to(now)
        lines = []
        for framework in frameworks_visible(access=self.access):
            standings = requirement_standings(framework, window=window, now=now)
            served = [one for one in standings if one.controls]
            counts = Counter(one.judgement.standing for one in served)
            lines.append(
                {
                    "framework": framework,
                    "total": len(standings),
                    "served": len(served),
                    "words": [(WORDS[one], TONES[one].value, counts[one]) for one in Standing if counts[one]],
                    "broken": [one for one in served if one.judgement.standing is Standing.NOT_OPERATING][:5],
                }
            )
        controls = controls_visible(access=self.access)
        context = {
            "title": "Compliance",
            "intro": "What operations prove, over the last 90 days.",
            "lines": lines,
            "owners": _by_owner(
                control_standings(controls, window=window, now=now).values(), coming_due(controls, now=now)
            ),
            "share": evidence_share(window=window) if self.access.everything else None,
            "legend": LEGEND,
            "asserted": ASSERTED,
        }
        return render(request, "compliance/overview.html", context)


def _by_owner(standings: Iterable[ControlStanding], due: Iterable[ComingDue]) -> list[dict[str, Any]]:
    """Return what each owner has to mend and to do, the busiest first."""
    owners: dict[str, dict[str, Any]] = {}
    for one in standings:
        if one.judgement.standing in TO_MEND:
            owners.setdefault(one.owner, {"name": one.owner, "bad": [], "due": []})["bad"].append(one)
    for coming in due:
        owners.setdefault(coming.owner, {"name": coming.owner, "bad": [], "due": []})["due"].append(coming)
    return sorted(owners.values(), key=lambda owner: (-len(owner["bad"]), -len(owner["due"]), owner["name"]))


class FrameworkDetailView(ComplianceView):
    """A framework as a heat map: requirement by month."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        framework: Framework = self.find(frameworks_visible(access=self.access), slug=slug)
        now = database_now()
        months = months_before(now, count=12 if request.GET.get("months") == "12" else MONTHS)
        by_month = requirement_standings_over(framework, windows=months, now=now)
        slugs = dict(framework.requirements.values_list("pk", "slug"))
        rows, unserved = [], []
        for position, one in enumerate(by_month[-1]):
            url = reverse("compliance:requirement_detail", args=[framework.slug, slugs[one.requirement_id]])
            if not one.controls:
                unserved.append((one, url))
                continue
            cells = [_cell(month[position], url) for month in by_month]
            rows.append({"label": f"{one.ref} {one.label}", "url": url, "cells": cells})
        context = {
            "title": framework.name,
            "intro": f"{framework.edition}, version {framework.version} of the list.",
            "framework": framework,
            "columns": [f"{month.start:%b %Y}" for month in months],
            "rows": rows,
            "unserved": unserved,
            "year": request.GET.get("months") == "12",
            "versions": framework.versions.all()[:10],
            "legend": LEGEND,
            "asserted": ASSERTED,
        }
        return render(request, "compliance/framework_detail.html", context)


def _cell(one: RequirementStanding, url: str) -> dict[str, str]:
    # Beside "untested", what other controls of the requirement came to would read as if it had passed.
    shown = one.judgement.due and one.judgement.standing is not Standing.NOT_TESTED
    counted = f" {one.judgement.passed}/{one.judgement.due}" if shown else ""
    return {
        "text": f"{SHORT[one.judgement.standing]}{counted}",
        "tone": one.tone.value,
        "title": f"{one.ref}: {one.word}{', ' + one.judgement.counted if one.judgement.due else ''}; "
        f"{one.judgement.reason}",
        "url": url,
    }


class RequirementDetailView(ComplianceView):
    """A requirement: what serves it, by how much and why."""

    def get(self, request: HttpRequest, slug: str, requirement: str) -> HttpResponse:
        framework: Framework = self.find(frameworks_visible(access=self.access), slug=slug)
        found = self.find(framework.requirements.filter(retired_at__isnull=True), slug=requirement)
        now = database_now()
        standing = next(
            one
            for one in requirement_standings(framework, window=window_to(now), now=now)
            if one.requirement_id == found.pk
        )
        links = {link.control_id: link for link in found.links.all()}
        context = {
            "title": f"{found.ref} {found.label}",
            "framework": framework,
            "requirement": found,
            "standing": standing,
            "decision": Applicability.objects.filter(requirement=found).first(),
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
            "licensed": RequirementText.objects.filter(requirement=found).first() if self.access.everything else None,
            "controls": [(one, links[one.control_id]) for one in standing.controls],
            "asserted": ASSERTED,
        }
        return render(request, "compliance/requirement_detail.html", context)
