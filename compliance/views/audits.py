"""Pages: the audit room."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import ensure_may, principal_of
from compliance.data import ASSERTED, Window
from compliance.forms import EngagementForm, GrantForm, start_of
from compliance.models import AuditorGrant, Engagement, PackExport
from compliance.selectors import (
    access_of,
    control_standings,
    controls_judged,
    engagements_visible,
    exports_visible,
)
from compliance.services import create_engagement, grant_auditor, request_export, revoke_auditor
from compliance.services.auditing import is_auditor_of
from compliance.services.audits import close_engagement, note_download
from compliance.views.base import ComplianceView, FormView, watermark
from compliance.views.room import room_links
from core.clock import database_now
from core.downloads import resumable_file
from core.lists import Action, Column, Empty, RecordListView
from core.parsing import refuse
from ledger.services import artifact_path, public_verifier_key


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

    def get_actions(self) -> Sequence[Action]:
        if principal_of(self.request).may(Capability.COMPLIANCE_EDIT):
            return (Action("Create an audit", reverse("compliance:engagement_add")),)
        return ()

    def get_records(self) -> QuerySet[Engagement]:
        return engagements_visible(access=access_of(principal_of(self.request)))


class EngagementDetailView(ComplianceView):
    """The audit room: scope, controls, evidence packs and how to verify them. POST asks for a pack."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        engagement: Engagement = self.find(engagements_visible(access=self.access), slug=slug)
        now = database_now()
        window = Window(engagement.window_start, min(engagement.window_end, now))
        # As in its packs: a control that was retired in the window still speaks for what had fallen due.
        controls = list(controls_judged(engagement.frameworks.all(), since=window.start))
        standings = list(control_standings(controls, window=window, now=now).values())
        standings.sort(key=lambda one: -one.tone.badness)
        may_export = not self.access.everything or principal_of(request).may(Capability.AUDIT_EXPORT)
        context = {
            "title": engagement.name,
            "engagement": engagement,
            "window": window,
            "standings": standings,
            "retired": {one.slug for one in controls if one.retired_at is not None},
            "words": list(Counter(one.word for one in standings).items()),
            "grants": engagement.grants.filter(revoked_at__isnull=True).select_related("user"),
            "exports": engagement.exports.all()[:10],
            "may_export": may_export,
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
            "may_work": engagement.closed_at is None
            and (
                is_auditor_of(principal_of(request), engagement)
                or principal_of(request).may(Capability.COMPLIANCE_EDIT)
            ),
            "watermark": watermark(request),
            "key": public_verifier_key(),
            "asserted": ASSERTED,
            **room_links(engagement),
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
    """The finished pack, whole or from where a download was cut off; each download is recorded."""

    def get(self, request: HttpRequest, slug: str, reference: str) -> HttpResponseBase:
        export: PackExport = self.find(
            exports_visible(access=self.access),
            engagement__slug=slug,
            reference=reference,
            state=PackExport.State.COMPLETED,
        )
        place = artifact_path(export.sha256)
        if not place.is_file():
            raise Http404("The file is gone from the store; make the pack again.")
        note_download(principal=principal_of(request), export=export)
        return resumable_file(request, place, name=export.name, digest=export.sha256)


class EngagementAddView(FormView):
    """Create an audit."""

    form_class = EngagementForm
    heading = "Create an audit"
    button = "Create"

    def back(self) -> tuple[str, str]:
        return "Audits", reverse("compliance:engagement_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        order = form.order()
        if Engagement.objects.filter(slug=order["slug"]).exists():
            raise refuse("slug", found=order["slug"], allowed="a short name that no other audit has is allowed")
        made = create_engagement(principal=principal_of(request), **order)
        messages.success(request, "Created. Nobody reads it yet: let an auditor in.")
        return redirect(made)


class GrantAddView(FormView):
    """Let an auditor read one audit until a date."""

    form_class = GrantForm
    heading = "Let an auditor in"
    intro = "They see this audit, the controls in its scope and their evidence, and nothing else."
    button = "Let in"

    def engagement(self) -> Engagement:
        """Return the audit of the address."""
        return get_object_or_404(Engagement, slug=self.kwargs["slug"])

    def initial(self) -> dict[str, Any]:
        return {"expires_on": self.engagement().default_expiry().date()}

    def back(self) -> tuple[str, str]:
        return self.engagement().name, self.engagement().get_absolute_url()

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        engagement, given = self.engagement(), form.cleaned_data
        grant_auditor(
            principal=principal_of(request),
            engagement=engagement,
            user_id=given["auditor"].pk,
            expires_at=start_of(given["expires_on"]),
        )
        messages.success(request, f"{given['auditor']} may read this audit until {given['expires_on']:%-d %B %Y}.")
        return redirect(engagement)


class GrantRevokeView(LoginRequiredMixin, View):
    """Take an auditor's access away."""

    def post(self, request: HttpRequest, slug: str, pk: int) -> HttpResponse:
        principal = principal_of(request)
        ensure_may(principal, Capability.COMPLIANCE_EDIT)
        grant = get_object_or_404(AuditorGrant, engagement__slug=slug, pk=pk)
        revoke_auditor(principal=principal, grant=grant)
        messages.success(request, f"{grant.user} no longer reads this audit.")
        return redirect(grant.engagement)


class EngagementCloseView(LoginRequiredMixin, View):
    """Close an audit."""

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        principal = principal_of(request)
        ensure_may(principal, Capability.COMPLIANCE_EDIT)
        engagement = get_object_or_404(Engagement, slug=slug)
        close_engagement(principal=principal, engagement=engagement)
        messages.success(request, "Closed. Its auditors no longer read it, and its window takes no more evidence.")
        return redirect(engagement)
