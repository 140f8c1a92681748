"""What surrounds runs: coverage, findings, game days."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability, Principal
from accounts.selectors import name_of
from accounts.services import principal_of
from chaos.coverage_selectors import (
    CoverageRow,
    coverage,
    game_days_visible,
    sessions_visible,
    suggestions,
)
from chaos.domain.coverage import EXPECTED, FULL_FOR, WORDS, FailureMode
from chaos.domain.retests import retest_within
from chaos.program_models import SETTLED_FINDINGS, FindingState, GameDaySession
from chaos.selectors import findings_visible, retests_visible
from chaos.services import (
    GuardRefusedError,
    begin_game_day,
    current_step,
    end_game_day,
    end_step,
    game_day_spec,
    mend_finding,
    retest_is_running,
    retest_periods,
    run_step,
    waive_retest,
)
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.paging import asked_text, part_of
from core.parsing import InputRefusedError
from core.states import Tone

SERVICES_SHOWN = 50


def may_view(principal: Principal) -> bool:
    """Say whether the room's pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


class CoverageView(LoginRequiredMixin, View):
    """What did we never try?"""

    def get(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        if not may_view(principal):
            raise Http404
        now = database_now()
        words = asked_text(request).lower().split()
        every = coverage(viewer=principal, now=now)
        part = part_of(request, _named(every, words), SERVICES_SHOWN)
        context = {
            "title": "Coverage",
            "intro": "What each service has been shown to survive, and how long ago.",
            "columns": ["Score", *(WORDS[mode] for mode in FailureMode)],
            "rows": [
                {
                    "label": row.service.name,
                    "url": reverse("portal:service_detail", args=[row.service.slug]),
                    "cells": [_score(row), *(_cell(row, mode, now) for mode in FailureMode)],
                }
                for row in part.records
            ],
            "part": part,
            "suggestions": suggestions(every, viewer=principal, now=now, limit=12),
            "words": WORDS,
            "findings": findings_visible(viewer=principal).filter(state=FindingState.OPEN)[:8],
            "retests": _retests(principal, now),
            "may_edit": principal.may_somewhere(Capability.CHAOS_EDIT),
        }
        return render(request, "chaos/coverage.html", context)


def _named(rows: list[CoverageRow], words: list[str]) -> list[CoverageRow]:
    """Return the rows of services with all these words in their names."""
    if not words:
        return rows
    named = ((row, f"{row.service.name} {row.service.slug}".lower()) for row in rows)
    return [row for row, name in named if all(word in name for word in words)]


def _retests(viewer: Principal, now: datetime) -> list[dict[str, Any]]:
    return [
        {"finding": one, "state": "overdue" if one.is_overdue(now) else "due"}
        for one in retests_visible(viewer=viewer)[:8]
    ]


def _score(row: CoverageRow) -> dict[str, Any]:
    score = row.score
    tone = Tone.OK if score.points >= 70 else Tone.RISK if score.points >= 30 else Tone.UNKNOWN
    return {
        "text": str(score.points),
        "tone": tone.value,
        "title": f"{score.points} of 100: {score.proven} of {score.expected} failure modes of tier "
        f"{row.service.tier} are proven",
    }


def _cell(row: CoverageRow, mode: FailureMode, now: datetime) -> dict[str, Any]:
    proof = row.newest.get(mode)
    if proof is None:
        if mode not in EXPECTED[row.service.tier]:
            return {
                "text": "·",
                "tone": "plain",
                "title": f"{WORDS[mode]}: tier {row.service.tier} does not ask for it",
            }
        return {"text": "never", "tone": "unknown", "title": f"{WORDS[mode]} was never tried"}
    age = now - proof.at
    tone = Tone.BAD if proof.verdict == "failed" else Tone.OK if age <= FULL_FOR else Tone.RISK
    name = "chaos:recovery_run_detail" if proof.recovery else "chaos:run_detail"
    return {
        "text": f"{proof.verdict.upper()} {_age(age)}",
        "tone": tone.value,
        "title": f"{WORDS[mode]}: {proof.verdict} {_age(age)} ago",
        "url": reverse(name, args=[proof.reference]),
    }


def _age(age: timedelta) -> str:
    if age < timedelta(hours=1):
        return f"{max(round(age.total_seconds() / 60), 0)} min"
    return f"{round(age.total_seconds() / 3600)} h" if age < timedelta(days=2) else f"{age.days} d"


def _by_retest(found: Any, chosen: Sequence[str]) -> Any:
    now = database_now()
    asked = {"overdue": Q(retest_due_at__lte=now), "due": Q(retest_due_at__gt=now)}
    wanted = Q()
    for word in chosen:
        wanted |= asked[word]
    return found.filter(wanted, state=FindingState.MENDED)


class FindingListView(RecordListView):
    """What runs have shown to be wrong."""

    title = "Findings"
    noun = "findings"
    columns = (
        Column("text", "Finding", str, kind="strong", href=lambda one: reverse("chaos:finding_detail", args=[one.pk])),
        Column("kind", "Kind", lambda one: one.get_kind_display(), order_by=("kind",)),
        Column("state", "State", lambda one: one.state, kind="state", order_by=("state",)),
        Column("times", "Times", lambda one: one.times, kind="number", order_by=("times",)),
        Column("found", "Found", lambda one: one.found_at, kind="time", order_by=("found_at",)),
        Column("retest", "Retest due", lambda one: one.retest_due_at, kind="time", order_by=("retest_due_at",)),
        Column("proven", "Proven mended", lambda one: one.proven_at, kind="time", wide_only=True),
    )
    filters = (
        Filter("state", "State", FindingState.choices),
        Filter("retest", "Retest", [("overdue", "overdue"), ("due", "due")], apply=_by_retest),
    )
    search_fields = ("text", "experiment__slug")
    default_sort = "-found"
    empty = Empty("No run has shown a weakness yet.", link_label="Coverage", link_url="/chaos/coverage/")

    def may_view(self, principal: Principal) -> bool:
        return may_view(principal)

    def get_records(self) -> Any:
        return findings_visible(viewer=principal_of(self.request))


class FindingDetailView(LoginRequiredMixin, View):
    """What is wrong, who mends it, until when must it be tried again, is it proven?"""

    def get(self, request: HttpRequest, number: int) -> HttpResponse:
        principal = principal_of(request)
        finding, now = self._finding(principal, number), database_now()
        services = list(finding.experiment.services.all())
        may = bool(services) and all(
            principal.may(Capability.CHAOS_RUN, team_id=service.team_id) for service in services
        )
        waits = finding.state == FindingState.MENDED
        context = {
            "title": str(finding),
            "finding": finding,
            "may_mend": may and finding.state == FindingState.OPEN,
            "may_retest": may and waits,
            "may_waive": may and finding.state not in SETTLED_FINDINGS,
            "overdue": finding.is_overdue(now),
            "running": waits and retest_is_running(finding),
            "within": retest_within([service.tier for service in services], stated=retest_periods()).days,
            "facts": [
                ("Experiment", str(finding.experiment)),
                ("Kind", finding.get_kind_display()),
                ("Shown by", f"{finding.times} runs" if finding.times > 1 else "one run"),
                ("Mended by", name_of(finding.mended_by) or None),
                ("How", finding.mended_how or None),
                ("Proven by", finding.proven_in.reference if finding.proven_in else None),
                ("Closed without a retest by", name_of(finding.waived_by) or None),
            ],
        }
        return render(request, "chaos/finding_detail.html", context)

    def post(self, request: HttpRequest, number: int) -> HttpResponse:
        principal = principal_of(request)
        finding = self._finding(principal, number)
        how, reason = (request.POST.get(name, "").strip() for name in ("how", "reason"))
        if request.POST.get("action") == "waive":
            if not reason:
                messages.error(request, "Say why no retest is needed. Nothing was closed.")
            elif waive_retest(principal=principal, finding=finding, reason=reason):
                messages.success(request, "Closed without a retest. The ledger keeps the reason.")
        elif not how:
            messages.error(request, "Say what was mended.")
        elif mend_finding(principal=principal, finding=finding, how=how):
            finding.refresh_from_db()
            messages.success(
                request,
                f"Kept. A run that passes until {finding.retest_due_at:%d %b %Y} proves it.",
            )
        return redirect("chaos:finding_detail", number=number)

    @staticmethod
    def _finding(viewer: Principal, number: int) -> Any:
        finding = findings_visible(viewer=viewer).filter(pk=number).first()
        if finding is None:
            raise Http404
        return finding


class GameDayListView(RecordListView):
    """Rehearsals with people."""

    title = "Game days"
    noun = "game days"
    columns = (
        Column(
            "title",
            "Game day",
            str,
            kind="strong",
            order_by=("title",),
            href=lambda one: reverse("chaos:game_day_detail", args=[one.slug]),
        ),
        Column("environment", "Environment", lambda one: one.environment.name, order_by=("environment__name",)),
        Column("steps", "Steps", lambda one: len(one.definition["spec"]["steps"]), kind="number"),
    )
    search_fields = ("title", "slug")
    default_sort = "title"
    empty = Empty(
        "No game day is planned. Describe one in YAML (kind: GameDay) and apply it.",
        command=".venv/bin/python manage.py chaos apply gameday.yaml",
    )

    def may_view(self, principal: Principal) -> bool:
        return may_view(principal)

    def get_records(self) -> Any:
        return game_days_visible(viewer=principal_of(self.request))

    def get_actions(self) -> Sequence[Action]:
        return [Action("Experiments", reverse("chaos:experiment_list"), icon="flask", primary=False)]


class GameDayDetailView(LoginRequiredMixin, View):
    """What is rehearsed, and how did it go?"""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        principal = principal_of(request)
        game_day = self._game_day(principal, slug)
        spec = game_day_spec(game_day.definition)
        context = {
            "title": str(game_day),
            "intro": spec.purpose,
            "game_day": game_day,
            "spec": spec,
            "sessions": sessions_visible(viewer=principal).filter(game_day=game_day)[:10],
            "may_lead": principal.may_somewhere(Capability.CHAOS_RUN),
        }
        return render(request, "chaos/game_day_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        principal = principal_of(request)
        try:
            session = begin_game_day(principal=principal, game_day=self._game_day(principal, slug))
        except InputRefusedError as error:
            messages.error(request, str(error))
            return redirect("chaos:game_day_detail", slug=slug)
        return redirect("chaos:game_day_session", reference=session.reference)

    @staticmethod
    def _game_day(viewer: Principal, slug: str) -> Any:
        found = game_days_visible(viewer=viewer).filter(slug=slug).first()
        if found is None:
            raise Http404
        return found


class GameDaySessionView(LoginRequiredMixin, View):
    """Which step is going on, how much time is left, what comes next?"""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        principal = principal_of(request)
        session = self._session(principal, reference)
        spec = game_day_spec(session.definition)
        step = current_step(session)
        now = database_now()
        context = {
            "title": str(session.game_day),
            "intro": spec.purpose,
            "session": session,
            "step": step,
            "clock": _clock(step, now) if step else None,
            "done": [{**one, "by": name_of(one["by"])} for one in session.steps if "ended_at" in one],
            "coming": spec.steps[len(session.steps) :],
            "number": len(session.steps),
            "whole": len(spec.steps),
            "may_lead": principal.may_somewhere(Capability.CHAOS_RUN) and session.ended_at is None,
        }
        template = "chaos/game_day_live.html" if request.htmx else "chaos/game_day_session.html"  # type: ignore[attr-defined]
        return render(request, template, context)

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        principal = principal_of(request)
        session, action = self._session(principal, reference), request.POST.get("action", "")
        note = request.POST.get("note", "").strip()
        try:
            if action == "run":
                run_step(principal=principal, session=session)
            elif action == "end":
                end_game_day(principal=principal, session=session, summary=note)
            else:
                end_step(principal=principal, session=session, outcome=action, note=note)
        except (GuardRefusedError, InputRefusedError) as error:
            messages.error(request, str(error))
        return redirect("chaos:game_day_session", reference=reference)

    @staticmethod
    def _session(viewer: Principal, reference: str) -> GameDaySession:
        found = sessions_visible(viewer=viewer).filter(reference=reference).first()
        if found is None:
            raise Http404
        return found


def _clock(step: dict[str, Any], now: datetime) -> dict[str, Any]:
    gone = (now - datetime.fromisoformat(step["started_at"])).total_seconds()
    left = step["within_seconds"] - gone
    return {
        "value": min(max(gone, 0), step["within_seconds"]),
        "whole": step["within_seconds"],
        "left": timedelta(seconds=round(abs(left))),
        "late": left < 0,
    }
