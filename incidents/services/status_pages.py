"""Tell others how services are: pages, what a person says on them, and who wants to hear of it."""

import secrets
from collections.abc import Sequence

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.events import publish
from core.parsing import refuse
from delivery.data import Channel
from delivery.services import send
from incidents.data import PublicState, TimelineKind
from incidents.events import StatusPublished
from incidents.models import Incident, StatusPage, StatusSubscription, StatusUpdate
from incidents.services.timeline import add_timeline_entry

# An address is asked to confirm at most this often, so that nobody is pestered by means of a page.
ASKED_AGAIN_AFTER_SECONDS = 3600
MOST_WAITING = 1000


def save_status_page(
    *,
    principal: Principal,
    slug: str,
    name: str,
    intro: str = "",
    visibility: str = StatusPage.Visibility.INTERNAL,
    team_id: int | None = None,
    service_ids: Sequence[int] = (),
) -> StatusPage:
    """Set up a page, or change it."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    with transaction.atomic():
        page, _ = StatusPage.objects.update_or_create(
            slug=slug, defaults={"name": name, "intro": intro[:300], "visibility": visibility, "team_id": team_id}
        )
        page.services.set(service_ids)
    return page


def publish_status(
    *, principal: Principal, incident: Incident, page: StatusPage, state: PublicState, title: str, text: str
) -> StatusUpdate:
    """Say something on a page, tell its subscribers, and note it in the incident. Raises PermissionDenied."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    if not text.strip():
        raise refuse("text", found="nothing", allowed="say what those outside need to know")
    now = database_now()
    with transaction.atomic():
        update = StatusUpdate.objects.create(
            page=page,
            incident=incident,
            state=state,
            title=(title.strip() or incident.title)[:200],
            text=text.strip(),
            at=now,
            by=principal.label[:160],
        )
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.OUTSIDE,
            text=f"{page.name} says {state.value}: {update.title}. {update.text}",
            source_key=f"status:{update.pk}",
            principal=principal,
            at=now,
            link=f"/status/{page.slug}/",
        )
        for subscription in page.subscriptions.filter(confirmed_at__isnull=False):
            _tell(subscription, page, update)
        publish(
            StatusPublished(
                reference=incident.reference,
                page=page.slug,
                state=state.value,
                title=update.title,
                text=update.text,
                published_at=now,
            )
        )
    return update


def subscribe(*, page: StatusPage, address: str) -> bool:
    """Ask a mail address whether it wants a page's updates; says whether it was asked now.

    The caller learns nothing about addresses that are known. Raises InputRefusedError for what is no mail address.
    """
    address = address.strip().lower()
    try:
        validate_email(address)
    except ValidationError:
        raise refuse("address", found=address[:80], allowed="a mail address is allowed") from None
    now = database_now()
    with transaction.atomic():
        waiting = page.subscriptions.filter(confirmed_at=None)
        known = page.subscriptions.filter(channel=Channel.EMAIL, address=address).first()
        if known is None:
            if waiting.count() >= MOST_WAITING:
                raise refuse("address", found="too many addresses wait to be confirmed", allowed="try again later")
            known = StatusSubscription.objects.create(
                page=page,
                channel=Channel.EMAIL,
                address=address,
                token=secrets.token_urlsafe(32),
                created_at=now,
                asked_at=now,
            )
        elif known.confirmed_at is not None or (now - known.asked_at).total_seconds() < ASKED_AGAIN_AFTER_SECONDS:
            return False
        else:
            StatusSubscription.objects.filter(pk=known.pk).update(asked_at=now)
        send(
            channel=Channel.EMAIL,
            address=address,
            idempotency_key=f"subscribe:{known.pk}:{int(now.timestamp())}",
            subject=f"Do you want the updates of {page.name}?",
            text=f"Somebody, probably you, asked for them. If you do: {link_of(known)}\n"
            "If not, do nothing; you will hear no more.\n",
            about=f"status:{page.slug}",
        )
    return True


def confirm_subscription(*, token: str) -> StatusSubscription | None:
    """Let an address have the updates; None when the link is not known."""
    StatusSubscription.objects.filter(token=token, confirmed_at=None).update(confirmed_at=database_now())
    return StatusSubscription.objects.select_related("page").filter(token=token).first()


def end_subscription(*, token: str) -> bool:
    """Forget an address; says whether it was known."""
    return bool(StatusSubscription.objects.filter(token=token).delete()[0])


def link_of(subscription: StatusSubscription) -> str:
    """Return the address at which a subscription is confirmed and ended."""
    return f"{settings.SITE_URL.rstrip('/')}/status/subscriptions/{subscription.token}/"


def _tell(subscription: StatusSubscription, page: StatusPage, update: StatusUpdate) -> None:
    site = settings.SITE_URL.rstrip("/")
    send(
        channel=Channel(subscription.channel),
        address=subscription.address,
        idempotency_key=f"status:{update.pk}:{subscription.pk}",
        subject=f"[{page.name}] {update.state}: {update.title}",
        text=f"{update.text}\n\n{site}/status/{page.slug}/\nNo more of this: {link_of(subscription)}\n",
        about=f"status:{page.slug}",
    )
