"""Pages of scans: what was scanned, a form to scan, how far it is, and what it found by control and file."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability
from accounts.services import principal_of
from compliance.forms import ScanForm
from compliance.models import ScanRun
from compliance.selectors.scans import findings_by_control, findings_by_file, scan_runs
from compliance.services.scan_runs import request_scan
from compliance.views.base import FormView
from compliance.views.registers import ManagedListView, ManagedView
from core.lists import Column, Empty, Filter
from core.templatetags.assay import state


class ScanListView(ManagedListView):
    """Every scan that somebody asked for."""

    title = "Scans"
    intro = "What infrastructure code was looked at. A scan that could not read everything proves nothing."
    noun = "scans"
    action = ("Scan", "compliance:scan_add")
    columns = (
        Column(
            "place",
            "What",
            lambda one: one.place,
            kind="strong",
            order_by=("place",),
            href=lambda one: one.get_absolute_url(),
        ),
        Column("source", "Source", lambda one: one.get_source_display(), order_by=("source",)),
        Column(
            "result",
            "Result",
            lambda one: one.word,
            render=lambda one: state(one.word, word=one.word, tone=one.tone),
        ),
        Column("failed", "Failed", lambda one: one.failed, kind="number", order_by=("failed",)),
        Column("passed", "Passed", lambda one: one.passed, kind="number", order_by=("passed",)),
        Column("requested_by", "Asked by", lambda one: one.requested_by_label, wide_only=True),
        Column("requested_at", "When", lambda one: one.requested_at, kind="time", order_by=("requested_at",)),
    )
    filters = (Filter("source", "Source", ScanRun.Source.choices),)
    search_fields = ("place",)
    default_sort = "-requested_at"
    empty = Empty("Nothing was scanned from here yet.", command=".venv/bin/python manage.py compliance scan PATH")

    def get_records(self) -> QuerySet[ScanRun]:
        return scan_runs()


class ScanAddView(FormView):
    """Ask for a scan."""

    form_class = ScanForm
    heading = "Scan infrastructure code"
    intro = "One of these. The code is looked at in a process of its own and not kept, the archive is."
    button = "Scan"

    def back(self) -> tuple[str, str]:
        return "Scans", reverse("compliance:scan_list")

    def build(self, *given: Any, **more: Any) -> forms.Form:
        return ScanForm(*given, may_paths=principal_of(self.request).may(Capability.SITE_ADMIN), **more)

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        return redirect(request_scan(principal=principal_of(request), **form.order()))


class ScanDetailView(ManagedView):
    """What a scan found, by control and by file."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        self.ensure_everything()
        run: ScanRun = self.find(ScanRun.objects.all(), reference=reference)
        running = run.state in {ScanRun.State.WAITING, ScanRun.State.RUNNING}
        context = {
            "title": run.place,
            "scan": run,
            "running": running,
            "controls": findings_by_control(run),
            "files": findings_by_file(run.findings),
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
            "may_read_ledger": principal_of(request).may(Capability.LEDGER_VIEW),
        }
        return render(request, "compliance/scan_detail.html", context)


class ScanProgressView(ManagedView):
    """How far a scan is; refreshes itself until it is finished."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        self.ensure_everything()
        run: ScanRun = self.find(ScanRun.objects.all(), reference=reference)
        return render(request, "compliance/scan_progress.html", {"scan": run, "title": run.place})
