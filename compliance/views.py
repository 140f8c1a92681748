"""Pages: what will pass, what proves each control, and the audit room."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

import orjson
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import principal_of
from compliance.data import (
    ASSERTED,
    EXPLANATIONS,
    SHORT,
    TONES,
    WORDS,
    Access,
    ControlStanding,
    Outcome,
    RequirementStanding,
    Standing,
    Window,
)
from compliance.domain.rules import Rule
from compliance.models import Check, Control, Engagement, Framework, PackExport
from compliance.selectors import (
    access_of,
    coming_due,
    control_standings,
    controls_visible,
    engagements_visible,
    evidence_of,
    evidence_proof,
    exports_visible,
    frameworks_visible,
    months_before,
    requirement_standings,
    requirement_standings_over,
    window_to,
)
from compliance.services import request_export
from compliance.services.audits import note_download
from core.clock import database_now
from core.drawings import Interval, Lane, TimeAxis
from core.lists import Column, Empty, Filter, RecordListView
from core.states import Tone
from core.templatetags.assay import state
from ledger.services import public_verifier_key, read_artifact

MONTHS = 6
LEGEND = [(WORDS[one], TONES[one].value, EXPLANATIONS[one]) for one in Standing]
TONE_OF_OUTCOME = {
    Outcome.PASSED: Tone.OK,
    Outcome.FAILED: Tone.BAD,
    Outcome.MISSED: Tone.BAD,
    Outcome.PENDING: Tone.PLAIN,
}


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

    def find(self, records: QuerySet[Any], **wanted: Any) -> Any:
        """Return the one record that the reader may see, or answer 404."""
        found = records.filter(**wanted).first()
        if found is None:
            raise Http404("There is no such page for you.")
        return found


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
        context = {
            "title": "Compliance",
            "intro": "What operations prove, over the last 90 days.",
            "lines": lines,
            "due": coming_due(controls_visible(access=self.access), now=now),
            "legend": LEGEND,
            "asserted": ASSERTED,
        }
        return render(request, "compliance/overview.html", context)


class FrameworkDetailView(ComplianceView):
    """A framework as a heat map: requirement by month."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        framework: Framework = self.find(frameworks_visible(access=self.access), slug=slug)
        now = database_now()
        months = months_before(now, count=MONTHS)
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
            "legend": LEGEND,
            "asserted": ASSERTED,
        }
        return render(request, "compliance/framework_detail.html", context)


def _cell(one: RequirementStanding, url: str) -> dict[str, str]:
    counted = f" {one.judgement.passed}/{one.judgement.due}" if one.judgement.due else ""
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
            "controls": [(one, links[one.control_id]) for one in standing.controls],
            "asserted": ASSERTED,
        }
        return render(request, "compliance/requirement_detail.html", context)


class ControlListView(RecordListView):
    """Every control with how it stands."""

    title = "Controls"
    intro = "What the organization does, and what the last 90 days prove of it."
    noun = "controls"
    columns = (
        Column(
            "title",
            "Control",
            lambda one: one.title,
            kind="strong",
            sort_key=lambda one: one.title,
            href=lambda one: reverse("compliance:control_detail", args=[one.slug]),
        ),
        Column(
            "standing",
            "Standing",
            lambda one: one.word,
            sort_key=lambda one: -one.tone.badness,
            render=lambda one: state(one.word, word=one.word, tone=one.tone.value),
        ),
        Column(
            "counted",
            "Passed of due",
            lambda one: one.judgement.counted,
            sort_key=lambda one: one.judgement.passed - one.judgement.due,
        ),
        Column("owner", "Owner", lambda one: one.owner, sort_key=lambda one: one.owner),
        Column("reason", "Why", lambda one: one.judgement.reason, wide_only=True),
    )
    filters = (
        Filter(
            "standing",
            "Standing",
            [(one.value, WORDS[one]) for one in Standing],
            apply=lambda lines, chosen: [one for one in lines if one.judgement.standing.value in chosen],
        ),
    )
    default_sort = "standing"
    empty = Empty("No control is declared yet.", command=".venv/bin/python manage.py compliance load")

    def may_view(self, principal: Principal) -> bool:
        return access_of(principal).anything

    def get_records(self) -> Sequence[ControlStanding]:
        now = database_now()
        controls = controls_visible(access=access_of(principal_of(self.request)))
        return list(control_standings(controls, window=window_to(now), now=now).values())


class ControlDetailView(ComplianceView):
    """What proves this, over the whole window?"""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        control: Control = self.find(controls_visible(access=self.access), slug=slug)
        now = database_now()
        window = window_to(now)
        standing = control_standings([control], window=window, now=now)[control.pk]
        checks = {check.pk: check for check in control.checks.filter(retired_at__isnull=True)}
        links = control.links.select_related("requirement__framework")
        if not self.access.everything:
            links = links.filter(requirement__framework__in=self.access.framework_ids)
        recent = {pk: list(check.occurrences.all()[:50]) for pk, check in checks.items()}
        context = {
            "title": control.title,
            "control": control,
            "standing": standing,
            "window": window,
            "checks": [
                (one, _in_words(checks[one.check_id]), TONES[one.judgement.standing].value, checks[one.check_id])
                for one in standing.checks
            ],
            "words": WORDS,
            "links": links,
            "axis": _axis(checks.values(), recent, window=window, now=now),
            "gaps": [
                row for rows in recent.values() for row in rows if row.outcome in {Outcome.FAILED, Outcome.MISSED}
            ][:20],
            "evidence": evidence_of(control, window=window, limit=50),
            "exceptions": control.exceptions.all(),
            "now": now,
            "versions": control.versions.all(),
            "asserted": ASSERTED,
        }
        return render(request, "compliance/control_detail.html", context)


def _in_words(check: Check) -> dict[str, str]:
    rule = Rule.model_validate(check.rule)
    happened = ", ".join(name.replace(".", " ").replace("_", " ") for name in rule.entries)
    narrowed = "; ".join(one.words() for one in rule.where)
    return {
        "population": f"{happened}{' where ' + narrowed if narrowed else ''}",
        "expects": "; ".join(one.words() for one in rule.expect) or "that it is recorded",
        "cadence": "each time it happens" if rule.cadence.value == "event" else rule.cadence.value,
        "passes": f"operating from {rule.operating_from_percent} % of what is due",
    }


def _axis(checks: Iterable[Check], recent: dict[int, list[Any]], *, window: Window, now: Any) -> TimeAxis:
    lanes = []
    for check in checks:
        marks = []
        for row in recent[check.pk]:
            at = row.happened_at or row.due_at
            if not window.start <= at <= now:
                continue
            marks.append(
                Interval(
                    f"{row.key}: {row.outcome}", at, at + timedelta(hours=6), "", TONE_OF_OUTCOME[Outcome(row.outcome)]
                )
            )
        lanes.append(Lane(check.title, marks))
    return TimeAxis("Occurrences over the last 90 days", window.start, now, lanes=lanes, now=now)


class EvidenceDetailView(ComplianceView):
    """One entry that a control rests on, with its proof in words."""

    def get(self, request: HttpRequest, slug: str, entry: int) -> HttpResponse:
        control: Control = self.find(controls_visible(access=self.access), slug=slug)
        found = evidence_proof(control, entry=entry)
        if found is None:
            raise Http404("This entry is not evidence of this control.")
        line, payload, words = found
        content = None if payload is None else orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()
        context = {"title": line.what, "control": control, "line": line, "content": content, "words": words}
        return render(request, "compliance/evidence_detail.html", context)


class EngagementListView(RecordListView):
    """The audits that the reader may see."""

    title = "Audits"
    intro = "Each audit has its frameworks, its window, and the people who may read it."
    noun = "audits"
    columns = (
        Column(
            "name",
            "Audit",
            lambda one: one.name,
            kind="strong",
            order_by=("name",),
            href=lambda one: one.get_absolute_url(),
        ),
        Column("kind", "Kind", lambda one: one.get_kind_display(), order_by=("kind",)),
        Column("frameworks", "Frameworks", lambda one: ", ".join(f.name for f in one.frameworks.all())),
        Column("from", "From", lambda one: one.window_start, kind="time", order_by=("window_start",)),
        Column("to", "To", lambda one: one.window_end, kind="time", order_by=("window_end",)),
    )
    search_fields = ("name", "slug")
    default_sort = "-from"
    empty = Empty(
        "No audit has been created.",
        command=".venv/bin/python manage.py audit create soc2 --framework soc2 --from 2026-01-01 --to 2026-12-31",
    )

    def may_view(self, principal: Principal) -> bool:
        return access_of(principal).anything

    def get_records(self) -> QuerySet[Engagement]:
        return engagements_visible(access=access_of(principal_of(self.request)))


class EngagementDetailView(ComplianceView):
    """The audit room: scope, controls, evidence packs and how to verify them. POST asks for a pack."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        engagement: Engagement = self.find(engagements_visible(access=self.access), slug=slug)
        now = database_now()
        window = Window(engagement.window_start, min(engagement.window_end, now))
        controls = controls_visible(
            access=Access(framework_ids=frozenset(one.pk for one in engagement.frameworks.all()))
        )
        standings = list(control_standings(controls, window=window, now=now).values())
        may_export = not self.access.everything or principal_of(request).may(Capability.AUDIT_EXPORT)
        context = {
            "title": engagement.name,
            "engagement": engagement,
            "window": window,
            "standings": sorted(standings, key=lambda one: -one.tone.badness),
            "grants": engagement.grants.filter(revoked_at__isnull=True).select_related("user"),
            "exports": engagement.exports.all()[:10],
            "may_export": may_export,
            "key": public_verifier_key(),
            "asserted": ASSERTED,
        }
        return render(request, "compliance/engagement_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        engagement: Engagement = self.find(engagements_visible(access=self.access), slug=slug)
        request_export(principal=principal_of(request), engagement=engagement)
        messages.success(request, "The evidence pack is being made; this page shows how far it is.")
        return redirect(engagement)


class PackProgressView(ComplianceView):
    """How far a pack is; refreshes itself until it is finished."""

    def get(self, request: HttpRequest, slug: str, reference: str) -> HttpResponse:
        export: PackExport = self.find(exports_visible(access=self.access), engagement__slug=slug, reference=reference)
        return render(request, "compliance/pack_progress.html", {"export": export, "title": "Evidence pack"})


class PackDownloadView(ComplianceView):
    """The finished pack; each download is recorded."""

    def get(self, request: HttpRequest, slug: str, reference: str) -> HttpResponse:
        export: PackExport = self.find(
            exports_visible(access=self.access),
            engagement__slug=slug,
            reference=reference,
            state=PackExport.State.COMPLETED,
        )
        content = read_artifact(export.sha256)
        if content is None:
            raise Http404("The file is gone from the store; make the pack again.")
        note_download(principal=principal_of(request), export=export)
        response = HttpResponse(content, content_type="application/zip")
        response["Content-Disposition"] = f'attachment; filename="{export.name}"'
        return response
