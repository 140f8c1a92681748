"""Reads of the outbox, endpoints and notifications."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet

from delivery.data import Actor, AttemptOutcome, DeliveryState
from delivery.models import Connector, Delivery, DeliveryAttempt, Endpoint, Notification, OutsideWatch


def ensure_may_view(viewer: Actor) -> None:
    """Raise PermissionDenied unless the viewer may see the delivery log."""
    if not viewer.may("delivery.view"):
        raise PermissionDenied(f"{viewer.label} may not see this (delivery.view); allowed for: responder, admin.")


def deliveries(*, viewer: Actor, state: str = "", channel: str = "", about: str = "") -> QuerySet[Delivery]:
    """Return the delivery log, newest first."""
    ensure_may_view(viewer)
    rows = Delivery.objects.all()
    for name, value in (("state", state), ("channel", channel), ("about", about)):
        if value:
            rows = rows.filter(**{name: value})
    return rows


def delivery_by_reference(*, viewer: Actor, reference: str) -> Delivery | None:
    """Return one delivery, or None."""
    ensure_may_view(viewer)
    return Delivery.objects.filter(reference=reference).first()


def attempts_of(*, delivery: Delivery) -> QuerySet[DeliveryAttempt]:
    """Return the attempts at a delivery, first to last."""
    return DeliveryAttempt.objects.filter(delivery=delivery)


def deliveries_about(*, about: str) -> QuerySet[Delivery]:
    """Return what was sent about a thing (`incident:INC-3`), oldest first, for the room that shows the thing."""
    return Delivery.objects.filter(about=about).order_by("pk")


def delivery_counts() -> Mapping[str, int]:
    """Return how many deliveries stand in each state; every state is present."""
    counts = {state.value: 0 for state in DeliveryState}
    counts.update(Delivery.objects.order_by().values_list("state").annotate(n=Count("pk")))
    return counts


def endpoints(*, viewer: Actor) -> QuerySet[Endpoint]:
    """Return the webhook endpoints."""
    ensure_may_view(viewer)
    return Endpoint.objects.all()


def endpoint_by_slug(*, viewer: Actor, slug: str) -> Endpoint | None:
    """Return one endpoint, or None."""
    ensure_may_view(viewer)
    return Endpoint.objects.filter(slug=slug).first()


def endpoints_for_kind(*, kind: str) -> list[Endpoint]:
    """Return the active endpoints that want events of this kind."""
    wanted = {kind, f"{kind.split('.', 1)[0]}.*", "*"}
    return [e for e in Endpoint.objects.filter(state=Endpoint.State.ACTIVE) if wanted.intersection(e.event_kinds)]


def notifications_for(*, recipient: str) -> QuerySet[Notification]:
    """Return a person's notifications, newest first; `recipient` is `user:12`."""
    return Notification.objects.filter(recipient=recipient)


def unread_count(*, recipient: str) -> int:
    """Return how many of a person's notifications are unread."""
    return Notification.objects.filter(recipient=recipient, read_at=None).count()


def connectors(*, viewer: Actor) -> QuerySet[Connector]:
    """Return the services that carry messages."""
    ensure_may_view(viewer)
    return Connector.objects.all()


def connector_by_slug(*, slug: str) -> Connector | None:
    """Return a connector, or None."""
    return Connector.objects.filter(slug=slug).first()


def handed_over_since(
    *, about: str, since: datetime, until: datetime, most: int = 100_000
) -> list[tuple[str, str, datetime, datetime | None]]:
    """Return channel, state, creation and hand-over of what was written about things in a period, latest first."""
    rows = Delivery.objects.filter(about__startswith=about, created_at__gte=since, created_at__lt=until)
    return list(rows.order_by("-pk").values_list("channel", "state", "created_at", "sent_at")[:most])


def outside_watches(*, viewer: Actor) -> QuerySet[OutsideWatch]:
    """Return who outside is told that this site lives."""
    ensure_may_view(viewer)
    return OutsideWatch.objects.all()


def failed_tries(*, among: int = 5_000, most: int = 100) -> list[dict[str, Any]]:
    """Return tries of late that handed nothing over: when, by which channel, with which answer; not to whom."""
    names = ("started_at", "delivery__channel", "number", "outcome", "http_status", "error")
    lately = DeliveryAttempt.objects.order_by("-pk").values(*names)[:among]
    missed = (one for one in lately if one["outcome"] in {AttemptOutcome.FAILED, AttemptOutcome.UNKNOWN})
    return list(islice(missed, most))
