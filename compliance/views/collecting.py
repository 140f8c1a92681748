"""Pages of what comes from elsewhere: access reviews, changes, collectors' keys."""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from accounts.data import Capability
from accounts.services import principal_of
from compliance.forms import CampaignForm, ChangeSourceForm, CollectorKeyForm
from compliance.models import AccessCampaign, AccessEntry, ChangeRecord, ChangeSource, CollectorKey
from compliance.services.changes import (
    NotGenuineError,
    ensure_genuine,
    fetch_changes,
    save_change_source,
    take_webhook,
)
from compliance.services.pushing import add_collector_key, revoke_collector_key
from compliance.services.reviewing import (
    Account,
    accounts_of_assay,
    accounts_of_csv,
    accounts_of_github,
    accounts_of_rest,
    close_campaign,
    confirm_revocation,
    decide_access,
    is_subject,
    open_campaign,
)
from compliance.views.base import FormView
from compliance.views.registers import ManagedListView, ManagedView
from core.lists import Action, Column, Empty, Filter
from core.parsing import InputRefusedError
from core.templatetags.assay import state

MAX_WEBHOOK = 5 * 1024 * 1024
TONE_OF_DECISION = {"pending": "risk", "keep": "ok", "revoke": "bad"}


class CampaignListView(ManagedListView):
    """Every access review."""

    title = "Access reviews"
    intro = "Who has access, decided account by account; nobody decides on their own."
    noun = "reviews"
    action = ("Start a review", "compliance:campaign_add")
    columns = (
        Column(
            "name",
            "Review",
            lambda one: one.name,
            kind="strong",
            order_by=("name",),
            href=lambda one: one.get_absolute_url(),
        ),
        Column("system", "System", lambda one: one.system, order_by=("system",)),
        Column("decided", "Decided", lambda one: f"{one.decided} of {one.accounts_in_source}"),
        Column("left", "Still to take away", lambda one: one.left, kind="number"),
        Column("due_on", "Due", lambda one: one.due_on, order_by=("due_on",)),
        Column(
            "state",
            "State",
            lambda one: "ended" if one.closed_at else "open",
            render=lambda one: (
                state("ended", word="ended", tone="ok") if one.closed_at else state("open", word="open", tone="risk")
            ),
            order_by=("closed_at",),
        ),
    )
    search_fields = ("name", "system")
    default_sort = "due_on"
    empty = Empty("No access review has been started yet.")

    def get_records(self) -> QuerySet[AccessCampaign]:
        revoke = Q(entries__decision=AccessEntry.Decision.REVOKE, entries__revoked_at__isnull=True)
        return AccessCampaign.objects.annotate(
            decided=Count("entries", filter=~Q(entries__decision=AccessEntry.Decision.PENDING)),
            left=Count("entries", filter=revoke),
        )


class CampaignDetailView(ManagedView):
    """One review: a decision on each account."""

    def _campaign(self, slug: str) -> AccessCampaign:
        self.ensure_everything()
        found: AccessCampaign = self.find(AccessCampaign.objects.all(), slug=slug)
        return found

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        campaign, principal = self._campaign(slug), principal_of(request)
        rows = list(campaign.entries.all()[:500])
        may = principal.may(Capability.COMPLIANCE_EDIT) and campaign.closed_at is None
        own = {one.pk for one in rows if is_subject(principal, one)} if may and rows else set()
        context = {
            "title": campaign.name,
            "campaign": campaign,
            "rows": [(one, TONE_OF_DECISION[one.decision], may and one.pk not in own) for one in rows],
            "decided": campaign.entries.exclude(decision=AccessEntry.Decision.PENDING).count(),
            "may_edit": may,
            "choices": [("keep", "Keep"), ("revoke", "Take away")],
        }
        return render(request, "compliance/campaign_detail.html", context)

    def post(self, request: HttpRequest, slug: str = "", **_: Any) -> HttpResponse:
        campaign, principal = self._campaign(slug), principal_of(request)
        do = request.POST.get("do", "")
        try:
            if do == "close":
                close_campaign(principal=principal, campaign=campaign)
                messages.success(request, "Ended, and recorded.")
            else:
                number = request.POST.get("entry", "")
                entry = self.find(
                    campaign.entries.select_related("campaign"), pk=int(number) if number.isdecimal() else 0
                )
                if do == "gone":
                    confirm_revocation(principal=principal, entry=entry)
                else:
                    note = request.POST.get("note", "")
                    decide_access(principal=principal, entry=entry, decision=do, note=note)
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect(campaign)


class CampaignAddView(FormView):
    """Start an access review."""

    form_class = CampaignForm
    heading = "Start an access review"
    button = "Read the accounts"

    def back(self) -> tuple[str, str]:
        return "Access reviews", reverse("compliance:campaign_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given = form.cleaned_data
        made = open_campaign(
            principal=principal_of(request),
            slug=given["slug"],
            name=given["name"],
            system=given["system"],
            source=given["source"],
            due_on=given["due_on"],
            accounts=_accounts(given),
        )
        return redirect(made)


def _accounts(given: dict[str, Any]) -> list[Account]:
    allow = tuple(given["allow"].split())
    if given["source"] == AccessCampaign.Source.CSV:
        return accounts_of_csv(given["file"].read() if given["file"] else b"", source="file")
    if given["source"] == AccessCampaign.Source.GITHUB:
        api_url = given["address"] or "https://api.github.com"
        return accounts_of_github(organization=given["system"], token=given["token"], api_url=api_url, allow=allow)
    if given["source"] == AccessCampaign.Source.REST:
        return accounts_of_rest(address=given["address"], token=given["token"], allow=allow)
    return accounts_of_assay()


class ChangeListView(ManagedListView):
    """Merged changes."""

    title = "Merged changes"
    intro = "Who wrote, who approved, whether checks passed: as GitHub and GitLab tell it."
    noun = "changes"
    columns = (
        Column("change", "Change", lambda one: f"{one.source.repository} {one.change}", kind="strong"),
        Column("title", "Title", lambda one: one.title, order_by=("title",)),
        Column("author", "Author", lambda one: one.author, order_by=("author",)),
        Column("approvers", "Approved by", lambda one: ", ".join(one.approvers)),
        Column(
            "another",
            "By another",
            lambda one: "yes" if one.approved_by_another else "no",
            render=lambda one: (
                state("yes", word="yes", tone="ok") if one.approved_by_another else state("no", word="no", tone="bad")
            ),
        ),
        Column("checks", "Checks", lambda one: {True: "passed", False: "failed", None: "unknown"}[one.checks_passed]),
        Column("merged_at", "Merged", lambda one: one.merged_at, kind="time", order_by=("merged_at",)),
    )
    filters = (
        Filter(
            "source",
            "Repository",
            lambda _: list(ChangeSource.objects.values_list("slug", "repository")),
            "source__slug",
        ),
    )
    search_fields = ("title", "author", "change")
    default_sort = "-merged_at"
    empty = Empty("No change has been received yet. Connect a repository, then send its webhooks here.")

    def get_records(self) -> QuerySet[ChangeRecord]:
        return ChangeRecord.objects.filter(recorded_at__isnull=False).select_related("source")

    def get_actions(self) -> Sequence[Action]:
        may = principal_of(self.request).may(Capability.COMPLIANCE_EDIT)
        return (Action("Repositories", reverse("compliance:change_source_list"), icon="plug-connected"),) if may else ()


class ChangeSourceListView(ManagedListView):
    """The repositories that are connected."""

    title = "Repositories"
    noun = "repositories"
    action = ("Connect a repository", "compliance:change_source_add")
    columns = (
        Column(
            "slug",
            "Source",
            lambda one: one.slug,
            kind="strong",
            order_by=("slug",),
            href=lambda one: reverse("compliance:change_source", args=(one.slug,)),
        ),
        Column("repository", "Repository", lambda one: one.repository, order_by=("repository",)),
        Column("forge", "Forge", lambda one: one.get_forge_display(), order_by=("forge",)),
        Column("last", "Last heard", lambda one: one.last_received_at, kind="time", order_by=("last_received_at",)),
        Column("error", "Last error", lambda one: one.last_error, wide_only=True),
    )
    default_sort = "slug"
    empty = Empty("No repository is connected yet.")

    def get_records(self) -> QuerySet[ChangeSource]:
        return ChangeSource.objects.all()


class ChangeSourceView(ManagedView):
    """One repository: where to send webhooks, and a button that asks its API."""

    def _source(self, slug: str) -> ChangeSource:
        self.ensure_everything()
        found: ChangeSource = self.find(ChangeSource.objects.all(), slug=slug)
        return found

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        source = self._source(slug)
        context = {
            "title": source.repository,
            "source": source,
            "address": request.build_absolute_uri(reverse("compliance:change_webhook", args=(source.slug,))),
            "count": source.changes.filter(recorded_at__isnull=False).count(),
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
        }
        return render(request, "compliance/change_source.html", context)

    def post(self, request: HttpRequest, slug: str = "", **_: Any) -> HttpResponse:
        source = self._source(slug)
        try:
            count = fetch_changes(principal=principal_of(request), source=source)
            messages.success(request, f"{count} changes recorded.")
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect("compliance:change_source", slug)


class ChangeSourceAddView(FormView):
    """Connect a repository."""

    form_class = ChangeSourceForm
    heading = "Connect a repository"

    def back(self) -> tuple[str, str]:
        return "Repositories", reverse("compliance:change_source_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given = dict(form.cleaned_data)
        given["allow"] = tuple(given["allow"].split())
        made = save_change_source(principal=principal_of(request), **given)
        return redirect("compliance:change_source", made.slug)


@method_decorator(csrf_exempt, name="dispatch")
class ChangeWebhookView(View):
    """Where GitHub and GitLab tell of merged changes; signed with the secret of the source."""

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        source = ChangeSource.objects.filter(slug=slug).first()
        if source is None:
            raise Http404("There is no such source.")
        if int(request.headers.get("content-length") or 0) > MAX_WEBHOOK:
            return JsonResponse({"detail": "the body is too large"}, status=413)
        heard = request.headers
        try:
            ensure_genuine(
                source,
                body=request.body,
                signature=heard.get("x-hub-signature-256", ""),
                token=heard.get("x-gitlab-token", ""),
            )
            event = heard.get("x-github-event") or heard.get("x-gitlab-event", "")
            done = take_webhook(source, event=event, body=json.loads(request.body))
        except NotGenuineError as error:
            return JsonResponse({"detail": str(error)}, status=403)
        except (InputRefusedError, ValueError, KeyError, AttributeError, TypeError) as error:
            ChangeSource.objects.filter(pk=source.pk).update(last_error=f"refused: {error}"[:2000])
            return JsonResponse({"detail": str(error)[:500]}, status=422)
        return JsonResponse({"detail": done})


class CollectorKeyListView(ManagedListView):
    """The keys of collectors."""

    title = "Collectors"
    intro = "Keys with which collectors elsewhere sign the evidence that they push (DSSE, Ed25519)."
    noun = "keys"
    action = ("Trust a key", "compliance:collector_add")
    columns = (
        Column("name", "Collector", lambda one: one.name, kind="strong", order_by=("name",)),
        Column("key", "Public key", lambda one: one.public_key, kind="code"),
        Column("created_at", "Since", lambda one: one.created_at, kind="time", order_by=("created_at",)),
        Column("revoked_at", "Revoked", lambda one: one.revoked_at, kind="time", order_by=("revoked_at",)),
    )
    default_sort = "name"
    empty = Empty("No collector's key is trusted yet.")

    def get_records(self) -> QuerySet[CollectorKey]:
        return CollectorKey.objects.all()


class CollectorKeyAddView(FormView):
    """Trust a key, or no longer trust one."""

    form_class = CollectorKeyForm
    heading = "Trust a collector's key"
    intro = "The name of a key that is there, with the box ticked, revokes it; what it signed before stays."

    def back(self) -> tuple[str, str]:
        return "Collectors", reverse("compliance:collector_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given, principal = form.cleaned_data, principal_of(request)
        known = CollectorKey.objects.filter(name=given["name"]).first()
        if known is not None and given["revoke"]:
            revoke_collector_key(principal=principal, key=known)
        else:
            add_collector_key(principal=principal, name=given["name"], public_key=given["public_key"])
        return redirect("compliance:collector_list")
