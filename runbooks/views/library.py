"""The library of runbooks, and what no runbook covers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import principal_of
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.templatetags.assay import state
from runbooks.data import EXERCISE_DAYS
from runbooks.models import Runbook
from runbooks.selectors import runbooks_visible, uncovered, with_standing


def review_state(runbook: Any) -> str:
    """Return how a runbook's review stands: `fresh`, `stale`, or nothing when no date is set."""
    if runbook.review_by is None:
        return ""
    return "stale" if runbook.review_by < database_now().date() else "fresh"


def _review(runbook: Any) -> SafeString:
    if runbook.review_by is None:
        return format_html('<span class="text-secondary">no date</span>')
    if review_state(runbook) == "stale":
        return format_html("{} <span>since {}</span>", state("stale"), runbook.review_by.isoformat())
    return format_html("{}", runbook.review_by.isoformat())


def _success(runbook: Any) -> str:
    return f"{runbook.succeeded_count} of {runbook.run_count}" if runbook.run_count else "never run"


def _with(records: Any, chosen: list[str]) -> Any:
    if "never" in chosen:
        records = records.filter(last_exercised_at__isnull=True)
    if "stale" in chosen:
        records = records.filter(review_by__lt=database_now().date())
    return records.filter(tier=1) if "tier-1" in chosen else records


class RunbookListView(RecordListView):
    """Every runbook that the reader may see."""

    title = "Runbooks"
    intro = "What to do when something is wrong, step by step."
    noun = "runbooks"
    columns = (
        Column(
            "title",
            "Runbook",
            lambda runbook: runbook.title,
            kind="strong",
            order_by=("title",),
            href=lambda runbook: reverse("runbooks:runbook_detail", args=[runbook.slug]),
        ),
        Column("slug", "Slug", lambda runbook: runbook.slug, kind="code", order_by=("slug",), shown=False),
        Column("services", "Services", lambda runbook: ", ".join(one.name for one in runbook.services.all())),
        Column("team", "Owner", lambda runbook: runbook.team.name if runbook.team else "", order_by=("team__name",)),
        Column("runs", "Succeeded", _success, order_by=("run_count",)),
        Column(
            "exercised",
            "Last exercised",
            lambda runbook: runbook.last_exercised_at,
            kind="time",
            order_by=("last_exercised_at",),
        ),
        Column("review", "Review by", lambda runbook: runbook.review_by, order_by=("review_by",), render=_review),
    )
    filters = (
        Filter(
            "standing",
            "Standing",
            (("never", "Never exercised"), ("stale", "Review overdue"), ("tier-1", "Tier 1")),
            apply=_with,
        ),
    )
    search_fields = ("title", "slug", "services__name")
    default_sort = "title"
    empty = Empty(
        "No runbook is known yet. Eight playbooks come with the site.",
        command=".venv/bin/python manage.py runbook apply --shipped",
    )

    def may_view(self, principal: Principal) -> bool:
        return principal.may_somewhere(Capability.OPERATIONS_VIEW)

    def get_records(self) -> Any:
        return with_standing(runbooks_visible(viewer=principal_of(self.request))).prefetch_related("services")

    def get_actions(self) -> Sequence[Action]:
        found = [
            Action("Coverage", reverse("runbooks:coverage"), icon="shield-check", primary=False),
            Action("Runs", reverse("runbooks:run_list"), icon="list-check", primary=False),
        ]
        if principal_of(self.request).may_somewhere(Capability.RUNBOOK_EDIT):
            found.append(Action("Write a runbook", reverse("runbooks:runbook_create"), icon="plus"))
        return found

    def row_tone(self, record: Any) -> str:
        return "unknown" if review_state(record) == "stale" else ""


class CoverageView(LoginRequiredMixin, View):
    """Which services and alerts have no runbook, and which runbooks nobody has exercised or reviewed."""

    def get(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
            raise PermissionDenied("Your roles do not open the coverage of runbooks.")
        now = database_now()
        found = uncovered(viewer=principal, now=now)
        context = {
            "title": "Coverage of runbooks",
            "intro": "What has no runbook, and which runbooks are words that nobody has tried.",
            "now": now,
            "found": found,
            "overdue": _titled(found.exercise_overdue),
            "exercise_days": EXERCISE_DAYS,
            "since": now - timedelta(days=EXERCISE_DAYS),
        }
        return render(request, "runbooks/coverage.html", context)


def _titled(runbooks: Sequence[Runbook]) -> set[str]:
    return {one.slug for one in runbooks}
