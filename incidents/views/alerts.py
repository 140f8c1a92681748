"""The stream of alerts with what was decided, and the stored events behind it."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.data import Capability
from accounts.services import principal_of
from core.lists import Action, Column, Empty, Filter, RecordListView
from incidents.data import AlertStatus, InboundState
from incidents.domain.routing import Matcher
from incidents.models import Alert, InboundEvent
from incidents.navigation import may_view
from incidents.selectors import alerts_visible, inbound_event_by_reference, inbound_events, integrations
from incidents.services import replay
from incidents.views.access import RoomView

LONGEST_SHOWN = 64 * 1024


def address_of(alert: Alert) -> str:
    """Return the address of an alert."""
    return reverse("incidents:alert_detail", args=[alert.pk])


class AlertListView(RecordListView):
    """What comes in, and what was done with it."""

    title = "Alerts"
    intro = "What comes in, and what was decided: whom it paged, which incident it joined, or why nothing followed."
    noun = "alerts"
    columns = (
        Column("title", "Alert", lambda a: a.title, kind="strong", order_by=("title",), href=address_of),
        Column("status", "State", lambda a: a.status, kind="state", order_by=("status",)),
        Column("decision", "Decision", lambda a: a.short_decision),
        Column("service", "Service", lambda a: a.service.name if a.service else "", order_by=("service__name",)),
        Column(
            "incident",
            "Incident",
            lambda a: a.incident.reference if a.incident else "",
            href=lambda a: f"/incidents/{a.incident.reference}/" if a.incident else "",
        ),
        Column("count", "Times", lambda a: a.occurrences, kind="number", order_by=("occurrences",), wide_only=True),
        Column("started", "Started", lambda a: a.starts_at, kind="time", order_by=("starts_at",)),
        Column("last", "Last seen", lambda a: a.last_received_at, kind="time", order_by=("last_received_at",)),
        Column("from", "From", lambda a: a.integration.name, wide_only=True),
    )
    search_fields = ("title", "decision", "fingerprint")
    default_sort = "-last"
    saves_views = True
    counted_up_to = 10_000
    refresh_seconds = 10
    stacked = True
    empty = Empty(
        "No alert has come in. Add an integration and point a sender at the address that it prints.",
        command=".venv/bin/python manage.py incident integration add prometheus --kind alertmanager",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Alert]:
        return alerts_visible(viewer=principal_of(self.request))

    def get_filters(self) -> tuple[Filter, ...]:
        senders = [(one.slug, one.name) for one in integrations()]
        return (
            Filter("status", "State", [(one.value, one.value) for one in AlertStatus]),
            Filter("from", "From", senders, field="integration__slug"),
            Filter("held", "Paging", [("held", "held back"), ("flapping", "flapping")], apply=_held_or_flapping),
        )

    def get_actions(self) -> Sequence[Action]:
        found = [
            Action("Groups", reverse("incidents:alert_group_list"), icon="stack-2", primary=False),
            Action("Silences", reverse("incidents:silence_list"), icon="bell-off", primary=False),
        ]
        principal = principal_of(self.request)
        if principal.may(Capability.ALERTING_EDIT):
            found.append(Action("Rules", reverse("incidents:policy_editor"), icon="route", primary=False))
        found.append(Action("Integrations", reverse("incidents:integration_list"), icon="plug", primary=False))
        if principal.may(Capability.INCIDENT_RESPOND):
            found.append(Action("Inbound events", reverse("incidents:inbound_list"), icon="inbox", primary=False))
        return found


def _held_or_flapping(records: Any, chosen: list[str]) -> Any:
    kept = Q(pk__in=())
    if "held" in chosen:
        kept |= ~Q(suppressed_by="")
    if "flapping" in chosen:
        kept |= Q(flapping=True)
    return records.filter(kept)


class AlertDetailView(RoomView):
    """One alert: labels, and the whole decision."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        alert = get_object_or_404(alerts_visible(viewer=self.principal).select_related("event"), pk=pk)
        context = {
            "title": alert.title,
            "alert": alert,
            "labels": sorted(alert.labels.items()),
            "annotations": sorted(alert.annotations.items()),
            "silence_query": urlencode(
                [("match", str(Matcher(name, "=", str(value)))) for name, value in sorted(alert.labels.items())][:8]
            ),
            "may_silence": self.principal.may(Capability.INCIDENT_RESPOND, team_id=alert.team_id),
            "may_see_event": self.principal.may(Capability.INCIDENT_RESPOND),
        }
        return render(request, "incidents/alert_detail.html", context)


class InboundEventListView(RecordListView):
    """Every body that a sender was told was received."""

    title = "Inbound events"
    intro = "Every request that was answered with 2xx, byte for byte, and what became of it."
    noun = "inbound events"
    columns = (
        Column(
            "reference",
            "Reference",
            lambda e: e.reference,
            kind="code",
            href=lambda e: reverse("incidents:inbound_detail", args=[e.reference]),
        ),
        Column("received", "Received", lambda e: e.received_at, kind="time", order_by=("pk",)),
        Column("from", "From", lambda e: e.integration.name),
        Column("state", "State", lambda e: "dead" if e.dead_at else e.state, kind="state", order_by=("state",)),
        Column("alerts", "Alerts", lambda e: len(e.decisions), kind="number"),
        Column("duplicates", "Duplicates", lambda e: e.duplicates, kind="number", order_by=("duplicates",)),
        Column("problem", "Problem", lambda e: e.problem or e.last_error),
    )
    search_fields = ("reference", "problem")
    default_sort = "-received"
    counted_up_to = 10_000
    refresh_seconds = 10
    empty = Empty("Nothing has been received yet.")

    def may_view(self, principal: Any) -> bool:
        return bool(principal.may(Capability.INCIDENT_RESPOND))

    def get_records(self) -> QuerySet[InboundEvent]:
        return inbound_events(viewer=principal_of(self.request))

    def get_filters(self) -> tuple[Filter, ...]:
        return (
            Filter("state", "State", [(one.value, one.value) for one in InboundState]),
            Filter("from", "From", [(one.slug, one.name) for one in integrations()], field="integration__slug"),
        )


class InboundEventDetailView(RoomView):
    """One stored event: its bytes, and a button to process them again."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        event = self._event(reference)
        raw = bytes(event.body)
        body = _readable(raw)
        context = {
            "title": f"Event {event.reference}",
            "event": event,
            "body": body,
            "laid_out": body.encode() != raw,
            "size": len(raw),
            "headers": sorted(event.headers.items()),
            "may_replay": self.principal.may(Capability.ALERTING_EDIT),
        }
        return render(request, "incidents/inbound_detail.html", context)

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        replay(principal=self.principal, event=self._event(reference))
        messages.success(request, "It is being processed again; what it already caused is not caused twice.")
        return redirect("incidents:inbound_detail", reference)

    def _event(self, reference: str) -> InboundEvent:
        if not self.principal.may(Capability.INCIDENT_RESPOND):
            raise PermissionDenied("Bodies of inbound events are for responders of the whole site.")
        event = inbound_event_by_reference(viewer=self.principal, reference=reference)
        if event is None:
            raise Http404(f"There is no inbound event {reference}.")
        return event


def _readable(raw: bytes) -> str:
    try:
        text = orjson.dumps(orjson.loads(raw), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = raw.decode("utf-8", "backslashreplace")
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}\n… ({len(text) - LONGEST_SHOWN} more)"
