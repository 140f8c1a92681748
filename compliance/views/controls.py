"""Pages: what proves each control."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import orjson
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability, Principal
from accounts.services import principal_of
from compliance.data import (
    ASSERTED,
    TONES,
    WORDS,
    ControlStanding,
    Outcome,
    Standing,
    Window,
)
from compliance.domain.rules import Rule
from compliance.models import Check, Control
from compliance.selectors import (
    access_of,
    control_standings,
    controls_visible,
    evidence_of,
    evidence_proof,
    evidence_visible,
    window_to,
)
from compliance.services.retiring import retire_control
from compliance.views.base import ComplianceView
from core.clock import database_now
from core.drawings import Interval, Lane, TimeAxis
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from core.states import Tone
from core.templatetags.assay import state

TONE_OF_OUTCOME = {
    Outcome.PASSED: Tone.OK,
    Outcome.FAILED: Tone.BAD,
    Outcome.MISSED: Tone.BAD,
    Outcome.PENDING: Tone.PLAIN,
}


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

    def get_actions(self) -> Sequence[Action]:
        may = principal_of(self.request).may(Capability.COMPLIANCE_EDIT)
        return (Action("Declare as YAML", reverse("compliance:declare")),) if may else ()

    def get_records(self) -> Sequence[ControlStanding]:
        now = database_now()
        controls = controls_visible(access=access_of(principal_of(self.request)))
        return list(control_standings(controls, window=window_to(now), now=now).values())


class ControlDetailView(ComplianceView):
    """What proves this, over the whole window?"""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        control: Control = self.find(controls_visible(access=self.access, retired=True), slug=slug)
        now = database_now()
        window = window_to(now)
        standing = control_standings([control], window=window, now=now)[control.pk]
        checks = {check.pk: check for check in control.checks.filter(retired_at__isnull=True)}
        links = control.links.select_related("requirement__framework")
        if not self.access.everything:
            links = links.filter(requirement__framework__in=self.access.framework_ids)
        handed_in = evidence_visible(viewer=principal_of(request), access=self.access)
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
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
            "handed_in": handed_in.filter(control=control)[:20],
            "versions": control.versions.all(),
            "asserted": ASSERTED,
        }
        return render(request, "compliance/control_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        control: Control = self.find(controls_visible(access=self.access), slug=slug)
        try:
            retire_control(principal=principal_of(request), control=control, reason=request.POST.get("reason", ""))
        except InputRefusedError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "Retired. The ledger keeps the reason; what had fallen due before still counts.")
        return redirect("compliance:control_detail", slug=slug)


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
        control: Control = self.find(controls_visible(access=self.access, retired=True), slug=slug)
        found = evidence_proof(control, entry=entry)
        if found is None:
            raise Http404("This entry is not evidence of this control.")
        line, payload, words = found
        content = None if payload is None else orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()
        context = {"title": line.what, "control": control, "line": line, "content": content, "words": words}
        return render(request, "compliance/evidence_detail.html", context)
