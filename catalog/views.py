"""Pages of the catalog: teams, deployments with their change record, follow-ups."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import principal_of
from catalog.data import ActionItemState
from catalog.models import ActionItem, Deployment
from catalog.selectors import action_items_visible, deployments_visible, teams_with_services
from core.lists import Column, Empty, Filter, RecordListView


def _may_view(principal: Principal) -> bool:
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


class TeamListView(RecordListView):
    """Who owns what."""

    title = "Teams"
    noun = "teams"
    columns = (
        Column("name", "Team", lambda one: one.name, kind="strong", order_by=("name",)),
        Column("slug", "Slug", lambda one: one.slug, kind="code", order_by=("slug",)),
        Column("members", "Members", lambda one: ", ".join(str(user) for user in one.members.all())),
        Column("services", "Services", lambda one: ", ".join(service.name for service in one.services.all())),
    )
    search_fields = ("name", "slug")
    default_sort = "name"
    empty = Empty(
        "No team is known yet. Describe teams in YAML and apply them.",
        command=".venv/bin/python manage.py catalog apply teams.yaml",
    )

    def may_view(self, principal: Principal) -> bool:
        return _may_view(principal)

    def get_records(self) -> QuerySet[Any]:
        return teams_with_services(viewer=principal_of(self.request))


class DeploymentListView(RecordListView):
    """What changed, by whom, and who approved it."""

    title = "Deployments"
    noun = "deployments"
    columns = (
        Column(
            "reference",
            "Deployment",
            lambda one: one.reference,
            kind="strong",
            order_by=("reference",),
            href=lambda one: reverse("catalog:deployment_detail", args=[one.reference]),
        ),
        Column("service", "Service", lambda one: one.service.name, order_by=("service__name",)),
        Column("result", "Result", lambda one: one.result, kind="state", order_by=("result",)),
        Column("started", "Started", lambda one: one.started_at, kind="time", order_by=("started_at",)),
        Column("author", "Author", lambda one: one.author, order_by=("author",)),
        Column("approver", "Approver", lambda one: one.approver, order_by=("approver",)),
        Column("ticket", "Ticket", lambda one: one.ticket, wide_only=True),
        Column("commit", "Commit", lambda one: one.commit[:12], kind="code", wide_only=True),
        Column("emergency", "Emergency", lambda one: "yes" if one.emergency else "no", order_by=("emergency",)),
    )
    filters = (
        Filter("emergency", "Emergency", [("True", "yes"), ("False", "no")]),
        Filter("result", "Result", [("succeeded", "succeeded"), ("failed", "failed"), ("rolled-back", "rolled back")]),
    )
    search_fields = ("reference", "service__name", "author", "approver", "ticket", "commit")
    default_sort = "-started"
    empty = Empty(
        "No deployment has been recorded. Let the pipeline post each one to /api/v1/deployments/.",
    )

    def may_view(self, principal: Principal) -> bool:
        return _may_view(principal)

    def get_records(self) -> QuerySet[Deployment]:
        return deployments_visible(viewer=principal_of(self.request))


class DeploymentDetailView(LoginRequiredMixin, View):
    """One deployment with its change record."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        found = deployments_visible(viewer=principal_of(request)).filter(reference=reference).first()
        if found is None:
            raise Http404("There is no such deployment.")
        context: dict[str, Any] = {"title": f"{found.service.name} {found.reference}", "deployment": found}
        return render(request, "catalog/deployment_detail.html", context)


class ActionItemListView(RecordListView):
    """What is left to do, from reviews, findings, risks and experiments."""

    title = "Follow-ups"
    noun = "follow-ups"
    columns = (
        Column("title", "Follow-up", lambda one: one.title, kind="strong", href=lambda one: one.url),
        Column("state", "State", lambda one: one.state, kind="state", order_by=("state",)),
        Column("due", "Due", lambda one: one.due_on, order_by=("due_on",)),
        Column("owner", "Owner", lambda one: one.owner, order_by=("owner",)),
        Column("service", "Service", lambda one: one.service.name if one.service else "", order_by=("service__name",)),
        Column("source", "From", lambda one: one.source_key.split(":")[0], wide_only=True),
        Column("created", "Opened", lambda one: one.created_at, kind="time", order_by=("created_at",)),
    )
    filters = (Filter("state", "State", ActionItemState.choices),)
    search_fields = ("title", "owner", "source_key")
    default_sort = "due"
    empty = Empty("Nothing is left to do: no review, finding or experiment has opened a follow-up.")

    def may_view(self, principal: Principal) -> bool:
        return _may_view(principal)

    def get_records(self) -> QuerySet[ActionItem]:
        return action_items_visible(viewer=principal_of(self.request))
