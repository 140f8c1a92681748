"""Pages: the audit room."""

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.data import Capability, Principal
from accounts.services import principal_of
from compliance.data import (
    ASSERTED,
    Access,
    Window,
)
from compliance.models import Engagement, PackExport
from compliance.selectors import (
    access_of,
    control_standings,
    controls_visible,
    engagements_visible,
    exports_visible,
)
from compliance.services import request_export
from compliance.services.audits import note_download
from compliance.views.base import ComplianceView
from core.clock import database_now
from core.lists import Column, Empty, RecordListView
from ledger.services import public_verifier_key, read_artifact


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
