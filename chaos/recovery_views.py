"""Recovery tests: their calendar, promised against measured, and a run as it goes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timezone import get_current_timezone, get_current_timezone_name
from django.views import View

from accounts.data import Capability, Principal
from accounts.selectors import name_of
from accounts.services import principal_of
from chaos.data import RunState, Verdict
from chaos.domain.recovery_documents import KIND_WORDS, Kind
from chaos.recovery_calendar import calendar_weeks
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.recovery_selectors import (
    recovery_runs_visible,
    recovery_tests_visible,
    spec_of_run,
    spec_of_test,
    usual_run,
)
from chaos.services.recovery import RecoveryRefusedError, record_decision, request_recovery_run
from chaos.services.recovery_findings import clear_recovery_run
from chaos.services.recovery_running import finish_tabletop
from core.clock import database_now
from core.drawings import Interval, Lane, TimeAxis
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.states import Tone, tone_of

SHOWN_RUNS = 12


class DecisionForm(forms.Form):
    """What was decided."""

    number = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    decision = forms.CharField(max_length=500, label="Decision")


class ClearForm(forms.Form):
    """Why nothing dirty is left."""

    reason = forms.CharField(max_length=300, label="What was looked at")


def may_view(principal: Principal) -> bool:
    """Say whether the pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


def _seconds(value: Any) -> str:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value is None:
        return "not measured"
    return f"{value:,.2f} s" if value < 120 else f"{value / 60:,.1f} min"


def _promise(value: timedelta | None) -> str:
    return "not promised" if value is None else _seconds(value)


def _measured(said: dict[str, Any] | None, name: str) -> str:
    """Write a figure with its error bar."""
    value = (said or {}).get(name)
    if said is None or value is None:
        return "not measured"
    return f"{_seconds(value)} ± {_seconds(said['resolution_s'])}" if said.get("resolution_s") else _seconds(value)


class RecoveryCalendarView(LoginRequiredMixin, View):
    """What was tested in the last weeks, and what is due in the next ones?"""

    def get(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        if not may_view(principal):
            raise PermissionDenied
        now = database_now()
        weeks = calendar_weeks(viewer=principal, now=now, zone=get_current_timezone())
        context = {
            "title": "Calendar of recovery tests",
            "intro": f"Weeks from Monday, in {get_current_timezone_name()}.",
            "weeks": weeks,
            "by_hand": recovery_tests_visible(viewer=principal).filter(next_due_at__isnull=True),
        }
        return render(request, "chaos/recovery_calendar.html", context)


class RecoveryTestListView(RecordListView):
    """Can we recover, how fast, and since when do we know?"""

    title = "Recovery tests"
    intro = "What is promised for each service, what its last test measured, and when the next is due."
    noun = "recovery tests"
    columns = (
        Column("title", "Test", str, kind="strong", order_by=("title",), href=lambda test: test.get_absolute_url()),
        Column("service", "Service", lambda test: test.service.name, order_by=("service__name",)),
        Column("kind", "Kind", lambda test: test.kind, order_by=("kind",), wide_only=True),
        Column("verdict", "Last verdict", lambda test: test.last_verdict or "never", kind="state"),
        Column("rto", "RTO promised", lambda test: _promise(test.service.rto)),
        Column("rto_measured", "RTO measured", lambda test: _measured(test.last_result, "rto_sustained_s")),
        Column("rpo", "RPO promised", lambda test: _promise(test.service.rpo)),
        Column("rpo_measured", "RPO measured", lambda test: _measured(test.last_result, "rpo_s")),
        Column("last", "Last run", lambda test: test.last_ended, kind="time", order_by=("last_ended",)),
        Column("next", "Next due", lambda test: test.next_due_at, kind="time", order_by=("next_due_at",)),
    )
    filters = (Filter("kind", "Kind", [(kind.value, kind.value) for kind in Kind]),)
    search_fields = ("title", "slug", "service__name")
    default_sort = "next"
    empty = Empty(
        "No recovery test is known yet. Describe one in YAML and apply it.",
        command=".venv/bin/python manage.py dr apply recovery.yaml",
    )

    def may_view(self, principal: Principal) -> bool:
        return may_view(principal)

    def get_records(self) -> Any:
        last = RecoveryTestRun.objects.filter(test=OuterRef("pk"), state=RunState.FINISHED).order_by("-ended_at")
        return recovery_tests_visible(viewer=principal_of(self.request)).annotate(
            last_verdict=Subquery(last.values("verdict")[:1]),
            last_result=Subquery(last.values("result")[:1]),
            last_ended=Subquery(last.values("ended_at")[:1]),
        )

    def get_actions(self) -> Sequence[Action]:
        return [
            Action("Calendar", reverse("chaos:recovery_calendar"), icon="calendar", primary=False),
            Action("Runs", reverse("chaos:recovery_run_list"), icon="list-check", primary=False),
        ]


class RecoveryRunListView(RecordListView):
    """Every run of a recovery test that the reader may see."""

    title = "Runs of recovery tests"
    noun = "runs"
    columns = (
        Column("reference", "Run", lambda run: run.reference, kind="code", href=lambda run: run.get_absolute_url()),
        Column("test", "Test", lambda run: str(run.test), order_by=("test__title",)),
        Column("state", "State", lambda run: run.verdict or run.state, kind="state", order_by=("verdict", "state")),
        Column("rto", "Recovery time", lambda run: _seconds(run.result.get("rto_sustained_s"))),
        Column("rpo", "Recovery point", lambda run: _seconds(run.result.get("rpo_s"))),
        Column("lost", "Lost rows", lambda run: run.result.get("lost_rows"), kind="number"),
        Column("requested", "Requested", lambda run: run.requested_at, kind="time", order_by=("requested_at",)),
        Column("reason", "Why", lambda run: run.reason, wide_only=True),
    )
    filters = (Filter("verdict", "Verdict", Verdict.choices), Filter("state", "State", RunState.choices))
    search_fields = ("reference", "test__title", "reason")
    default_sort = "-requested"
    empty = Empty("No recovery test has run yet.", link_label="Recovery tests", link_url="/recovery/")

    def may_view(self, principal: Principal) -> bool:
        return may_view(principal)

    def get_records(self) -> Any:
        return recovery_runs_visible(viewer=principal_of(self.request))


class RecoveryTestDetailView(LoginRequiredMixin, View):
    """What is promised, what was measured, is it getting worse?"""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        test = self._test(request, slug)
        spec = spec_of_test(test)
        ended = test.runs.filter(state=RunState.FINISHED).order_by("-ended_at")
        runs = list(ended[:SHOWN_RUNS])
        last = runs[0] if runs else None
        measured = [run.result.get("rto_sustained_s") for run in reversed(runs)]
        context = {
            "title": str(test),
            "intro": f"{KIND_WORDS[Kind(test.kind)].capitalize()}, for {test.service.name}.",
            "test": test,
            "spec": spec,
            "last": last,
            "tiles": _tiles(test, last),
            "trend": measured if sum(value is not None for value in measured) > 1 else [],
            "runs": runs,
            "worse": last.result.get("regression", "") if last else "",
            "dirty": test.runs.filter(verdict=Verdict.DIRTY, cleared_at__isnull=True).first(),
            "live": test.runs.exclude(state=RunState.FINISHED).first(),
            "may_run": principal_of(request).may(Capability.CHAOS_RUN, team_id=test.service.team_id),
            "facts": [
                ("Service", test.service.name),
                ("Kind", KIND_WORDS[Kind(test.kind)]),
                ("Calendar", f"{spec.schedule.cron} {spec.schedule.zone}" if spec.schedule else "by hand"),
                ("Turns missed", test.missed),
                *([("Last turn", test.last_refusal)] if test.last_refusal else []),
                ("Looks every", _seconds(spec.probe.every)),
                ("Gives an answer", _seconds(spec.probe.timeout)),
                ("Resolution", _seconds(spec.probe.cadence.resolution)),
                ("Definition", f"{test.sha256[:12]} by {test.author}"),
            ],
        }
        return render(request, "chaos/recovery_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        test = self._test(request, slug)
        try:
            run = request_recovery_run(principal=principal_of(request), test=test)
        except RecoveryRefusedError as error:
            messages.error(request, str(error))
            return redirect(test.get_absolute_url())
        return redirect(run.get_absolute_url())

    def _test(self, request: HttpRequest, slug: str) -> RecoveryTest:
        found = recovery_tests_visible(viewer=principal_of(request)).filter(slug=slug).first()
        if found is None:
            raise Http404
        return found


class RecoveryRunDetailView(LoginRequiredMixin, View):
    """How far is it, and what did it measure?"""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        run = self._run(request, reference)
        template = "chaos/recovery_run_live.html" if request.htmx else "chaos/recovery_run_detail.html"  # type: ignore[attr-defined]
        return render(request, template, _run_context(run, principal_of(request)))

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        run, principal = self._run(request, reference), principal_of(request)
        try:
            if request.POST.get("action") == "finish":
                finish_tabletop(principal=principal, run=run)
            elif request.POST.get("action") == "clear":
                clear_recovery_run(principal=principal, run=run, reason=request.POST.get("reason", ""))
            else:
                form = DecisionForm(request.POST)
                if form.is_valid():
                    record_decision(principal=principal, run=run, **form.cleaned_data)
                else:
                    messages.error(request, "Write down what was decided.")
        except RecoveryRefusedError as error:
            messages.error(request, str(error))
        return redirect(run.get_absolute_url())

    def _run(self, request: HttpRequest, reference: str) -> RecoveryTestRun:
        found = recovery_runs_visible(viewer=principal_of(request)).filter(reference=reference).first()
        if found is None:
            raise Http404
        return found


def _tiles(test: RecoveryTest, last: RecoveryTestRun | None) -> list[dict[str, Any]]:
    said = last.result if last else {}
    bar = f"± {_seconds(said['resolution_s'])}, " if said.get("resolution_s") else ""
    return [
        {
            "label": "Recovery time",
            "value": _seconds(said.get("rto_sustained_s")),
            "hint": f"{bar}promised {_promise(test.service.rto)}",
        },
        {
            "label": "Recovery point",
            "value": _seconds(said.get("rpo_s")),
            "hint": f"{bar if said.get('rpo_s') is not None else ''}promised {_promise(test.service.rpo)}",
        },
        {
            "label": "Lost rows",
            "value": "not measured" if said.get("lost_rows") is None else said["lost_rows"],
            "hint": "" if said.get("acknowledged_rows") is None else f"of {said['acknowledged_rows']} acknowledged",
        },
    ]


def _run_context(run: RecoveryTestRun, principal: Principal) -> dict[str, Any]:
    spec, said, now = spec_of_run(run), run.result, database_now()
    decided = said.get("decided", {})
    going_on = run.state != RunState.FINISHED
    may_run = principal.may(Capability.CHAOS_RUN, team_id=run.test.service.team_id)
    return {
        "title": f"Run of {run.test}",
        "run": run,
        "going_on": going_on,
        "is_tabletop": spec.kind is Kind.TABLETOP,
        "scenario": spec.scenario,
        "questions": [
            {
                "number": number,
                "question": question,
                "answer": decided.get(str(number)),
                "due_at": run.started_at + question.within if run.started_at else None,
                "form": DecisionForm(initial={"number": number}, auto_id=f"id_%s_{number}"),
            }
            for number, question in enumerate(spec.decisions)
        ],
        "may_decide": principal.may(Capability.INCIDENT_RESPOND, team_id=run.test.service.team_id),
        "tiles": _tiles(run.test, run) if not going_on and spec.kind is not Kind.TABLETOP else [],
        "axis": _axis(run, now),
        "progress": _progress(run, now) if going_on and spec.kind is not Kind.TABLETOP else None,
        "may_clear": may_run and run.verdict == Verdict.DIRTY and run.cleared_at is None,
        "clear_form": ClearForm(),
        "facts": _facts(run, said),
        "security": list(said.get("security", {}).items()),
        "differences": said.get("data_differences", []),
    }


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {inner}" for name, inner in value.items())
    return value


def _facts(run: RecoveryTestRun, said: dict[str, Any]) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("Reference", run.reference),
        ("Requested by", name_of(run.requested_by)),
        ("RTO promised", _promise(run.rto)),
        ("RPO promised", _promise(run.rpo)),
    ]
    if run.state == RunState.FINISHED:
        facts += [
            ("First success", _seconds(said.get("rto_first_success_s"))),
            ("Sustained", _seconds(said.get("rto_sustained_s"))),
            *((f"of it: {name}", _seconds(value)) for name, value in said.get("parts_s", {}).items()),
            ("Client outage", _seconds(said.get("client_outage_s"))),
            ("Ambiguous rows", said.get("ambiguous_rows")),
            ("Data", said.get("data_check")),
            ("Scope", said.get("scope")),
            ("Witness", said.get("witness")),
            ("Clean-up", said.get("clean_up")),
            *([("Cleared", f"{run.cleared_reason} ({name_of(run.cleared_by)})")] if run.cleared_at else []),
            *((name.replace("_", " ").capitalize(), _shown(value)) for name, value in said.get("more", {}).items()),
        ]
    return facts


def _progress(run: RecoveryTestRun, now: datetime) -> dict[str, Any]:
    """Say how far it is, reckoned from the newest run that came to its end."""
    usual = usual_run(test=run.test)
    running = [step["name"] for step in run.steps if step["state"] == "running"]
    ended = usual.ended_at if usual else None
    return {
        "label": running[-1].capitalize() if running else "Waiting for a runner",
        "done": sum(step["state"] == "done" for step in run.steps),
        "total": max(len(usual.steps), len(run.steps)) if usual else None,
        "rate": f"steps done · {(now - run.requested_at).total_seconds():.0f} s",
        "remaining": max(ended - usual.requested_at - (now - run.requested_at), timedelta(0))
        if usual and ended
        else None,
    }


def _axis(run: RecoveryTestRun, now: datetime) -> TimeAxis:
    intervals = []
    for step in run.steps:
        started = datetime.fromisoformat(step["started_at"])
        ended = started + timedelta(seconds=step["seconds"]) if "seconds" in step else None
        tone = Tone.BAD if step["state"] == "failed" else Tone.ACTIVE
        intervals.append(Interval(step["name"], started, ended, tone=tone))
    start = run.requested_at - timedelta(seconds=1)
    return TimeAxis(
        label=f"What the run did, {run.reference}",
        start=start,
        end=(run.ended_at or now) + timedelta(seconds=1),
        now=None if run.ended_at else now,
        lanes=[
            Lane(
                "Run", [Interval(str(run.test), run.requested_at, run.ended_at, tone=tone_of(run.verdict or "running"))]
            ),
            *(Lane(interval.title, [interval]) for interval in intervals),
        ],
        width=1100,
    )
