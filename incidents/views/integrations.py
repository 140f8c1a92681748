"""The senders: their last word, their tokens, and a mapping that is tried on stored events before it is saved."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import yaml
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability
from accounts.services import principal_of
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError, load_yaml_documents, parse_document
from incidents.data import IntegrationKind
from incidents.domain.inbound_formats import GenericMapping
from incidents.forms import IntegrationForm, MappingForm, ReplayForm
from incidents.models import Integration
from incidents.navigation import may_view
from incidents.selectors import integration_by_slug, integrations, latest_events_of
from incidents.services import (
    NewToken,
    add_integration,
    pause_integration,
    replay_since,
    rotate_integration_token,
    save_mapping,
    try_mapping,
)
from incidents.views.access import RoomView

TRIED_EVENTS = 10
MAPPED = frozenset(
    {
        IntegrationKind.GENERIC,
        IntegrationKind.STANDARD_WEBHOOKS,
        IntegrationKind.CLOUDEVENTS,
        IntegrationKind.ALERTMANAGER,
        IntegrationKind.GRAFANA,
    }
)


def state_of(integration: Integration) -> str:
    """Return the state of a sender as a word."""
    if integration.state == Integration.State.PAUSED:
        return "paused"
    if integration.heartbeat_missed_at is not None:
        return "missing"
    return "slow" if integration.flooded_at is not None else "active"


class IntegrationListView(RecordListView):
    """Who sends alerts here."""

    title = "Integrations"
    intro = "What sends alerts, beats and deployments here, and when it was heard last."
    noun = "integrations"
    columns = (
        Column(
            "name",
            "Name",
            lambda i: i.name,
            kind="strong",
            order_by=("slug",),
            href=lambda i: reverse("incidents:integration_detail", args=[i.slug]),
        ),
        Column("kind", "Kind", lambda i: i.kind, order_by=("kind",)),
        Column("state", "State", state_of, kind="state"),
        Column("last", "Last heard", lambda i: i.heard_at, kind="time", order_by=("heard_at",)),
        Column("every", "Beat every", lambda i: i.heartbeat_every, kind="duration", wide_only=True),
    )
    search_fields = ("slug", "name")
    default_sort = "name"
    empty = Empty(
        "No integration exists. Add one and point a sender at the address that it prints.",
        command=".venv/bin/python manage.py incident integration add prometheus --kind alertmanager",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Integration]:
        return integrations().annotate(heard_at=Max("inbound_events__received_at"))

    def get_filters(self) -> tuple[Filter, ...]:
        return (Filter("kind", "Kind", [(one.value, one.value) for one in IntegrationKind]),)

    def get_actions(self) -> Sequence[Action]:
        if principal_of(self.request).may(Capability.ALERTING_EDIT):
            return (Action("Add an integration", reverse("incidents:integration_create"), icon="plus"),)
        return ()


class IntegrationCreateView(RoomView):
    """Add a sender; its address is shown once, on the page that follows."""

    def get(self, _: HttpRequest) -> HttpResponse:
        return self._page(IntegrationForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = IntegrationForm(request.POST)
        if form.is_valid():
            data = form.cleaned_data
            minutes = data["every_minutes"]
            try:
                new = add_integration(
                    principal=self.principal,
                    slug=data["slug"],
                    kind=IntegrationKind(data["kind"]),
                    signed=data["signed"],
                    heartbeat_every=timedelta(minutes=minutes) if minutes else None,
                )
            except InputRefusedError as error:
                form.add_error(None, str(error))
            else:
                return _page(self, new.integration, new=new)
        return self._page(form)

    def _page(self, form: IntegrationForm) -> HttpResponse:
        if not self.principal.may(Capability.ALERTING_EDIT):
            raise PermissionDenied("Adding an integration needs the role admin.")
        context = {"title": "Add an integration", "form": form, "cancel_url": reverse("incidents:integration_list")}
        return render(self.request, "incidents/integration_create.html", context)


class IntegrationDetailView(RoomView):
    """One sender. POST: rotate, pause, resume, replay, try or save a mapping."""

    def get(self, _: HttpRequest, slug: str) -> HttpResponse:
        return _page(self, self._load(slug))

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        integration = self._load(slug)
        step = request.POST.get("step", "")
        if step == "rotate":
            return _page(
                self, integration, new=rotate_integration_token(principal=self.principal, integration=integration)
            )
        if step in {"try", "save"}:
            return self._mapping(integration, save=step == "save")
        if step in {"pause", "resume"}:
            pause_integration(principal=self.principal, integration=integration, paused=step == "pause")
        elif step == "replay":
            self._replay(integration)
        return redirect("incidents:integration_detail", slug)

    def _replay(self, integration: Integration) -> None:
        form = ReplayForm(self.request.POST)
        if not form.is_valid():
            messages.error(self.request, "Nothing was replayed: say for how many hours.")
            return
        since = database_now() - timedelta(hours=form.cleaned_data["hours"])
        count = len(replay_since(principal=self.principal, integration=integration, since=since))
        messages.success(self.request, f"{count} events are being processed again.")

    def _mapping(self, integration: Integration, *, save: bool) -> HttpResponse:
        text = self.request.POST.get("mapping", "")
        try:
            mapping = _parse_mapping(text)
            if save:
                save_mapping(
                    principal=self.principal, integration=integration, mapping=mapping.model_dump(exclude_defaults=True)
                )
                messages.success(self.request, "The mapping holds for what comes from now on, and for replays.")
                return redirect("incidents:integration_detail", integration.slug)
        except InputRefusedError as error:
            form = MappingForm({"mapping": text})
            form.is_valid()
            form.add_error("mapping", str(error))
            return _page(self, integration, form=form)
        return _page(self, integration, form=MappingForm(initial={"mapping": text}), draft=mapping)

    def _load(self, slug: str) -> Integration:
        integration = integration_by_slug(slug=slug)
        if integration is None:
            raise Http404(f"There is no integration {slug}.")
        return integration


def _parse_mapping(text: str) -> GenericMapping:
    documents = load_yaml_documents(text, source="mapping")
    data, lines = documents[0] if documents else ({}, None)
    return parse_document(GenericMapping, data or {}, source="mapping", lines=lines)


def _page(
    view: RoomView,
    integration: Integration,
    *,
    new: NewToken | None = None,
    form: MappingForm | None = None,
    draft: GenericMapping | None = None,
) -> HttpResponse:
    may_see_bodies = view.principal.may(Capability.INCIDENT_RESPOND)
    may_edit = view.principal.may(Capability.ALERTING_EDIT)
    events = latest_events_of(integration=integration, limit=TRIED_EVENTS) if may_see_bodies else []
    mapped = integration.kind in MAPPED and may_edit
    current = GenericMapping.model_validate(integration.mapping)
    shown = yaml.safe_dump(integration.mapping, allow_unicode=True, sort_keys=False) if integration.mapping else ""
    tried = []
    for event in events if mapped else ():
        now_rows, now_problem = try_mapping(integration, event, current)
        then_rows, then_problem = try_mapping(integration, event, draft) if draft else (now_rows, now_problem)
        changed = (then_rows, then_problem) != (now_rows, now_problem)
        tried.append(
            {"event": event, "rows": then_rows, "problem": then_problem, "changed": changed, "before": now_rows}
        )
    context = {
        "title": integration.name,
        "integration": integration,
        "state": state_of(integration),
        "new": new,
        "events": events,
        "tried": tried,
        "draft": draft is not None,
        "mapped": mapped,
        "may_edit": may_edit,
        "form": form or MappingForm(initial={"mapping": shown}),
        "replay_form": ReplayForm(),
    }
    response = render(view.request, "incidents/integration_detail.html", context)
    if new is not None:
        response["Cache-Control"] = "no-store"
    return response
