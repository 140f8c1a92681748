"""Follow-ups of a review: what is left to do, by whom, until when; reminded of, done, or accepted for a time."""

from datetime import date, timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import user_by_username
from accounts.services import ensure_may
from catalog.data import ActionItemState
from catalog.selectors import action_items_from
from catalog.services import close_action_item, open_action_item, reopen_action_item
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import refuse
from delivery.data import Channel
from delivery.services import send
from incidents.models import FollowUp, Review

REMINDED_BEFORE = timedelta(days=3)
LONGEST_ACCEPTANCE = timedelta(days=366)
DUE_AGAIN = timedelta(days=14)


def add_follow_up(
    *,
    principal: Principal,
    review: Review,
    title: str,
    owner: str = "",
    due_in: timedelta,
    kind: str = FollowUp.Kind.PREVENT,
    external_url: str = "",
) -> FollowUp:
    """Open a follow-up in the catalogue's list of action items; `owner` is a user name."""
    incident = review.incident
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    if external_url and not external_url.startswith(("https://", "http://")):
        raise refuse("external_url", found=external_url, allowed="an address that begins with https:// is allowed")
    service = incident.services.first()
    key = f"review:{incident.reference}:{new_id('act')}"
    with transaction.atomic():
        open_action_item(
            source_key=key,
            title=title,
            owner=owner,
            service_id=service.pk if service else None,
            due_on=(database_now() + due_in).date(),
            url=f"/incidents/{incident.reference}/review/",
        )
        return FollowUp.objects.create(review=review, source_key=key, kind=kind, external_url=external_url)


def finish_follow_up(*, principal: Principal, follow_up: FollowUp) -> None:
    """Say that a follow-up is done."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=follow_up.review.incident.team_id)
    close_action_item(source_key=follow_up.source_key)


def accept_risk(*, principal: Principal, follow_up: FollowUp, reason: str, until: date) -> None:
    """Leave a follow-up undone for a time. Needs the right to approve, a reason, and an end within a year."""
    ensure_may(principal, Capability.APPROVE, team_id=follow_up.review.incident.team_id)
    now = database_now()
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="say why the risk is bearable")
    if not now.date() < until <= (now + LONGEST_ACCEPTANCE).date():
        raise refuse("until", found=until.isoformat(), allowed="a day ahead, within a year, is allowed")
    with transaction.atomic():
        FollowUp.objects.filter(pk=follow_up.pk).update(
            accepted_at=now,
            accepted_by=principal.label[:160],
            accepted_reason=reason.strip()[:200],
            accepted_until=until,
        )
        close_action_item(source_key=follow_up.source_key, state=ActionItemState.DROPPED)


def look_after_follow_ups() -> int:
    """Remind owners of what is due within three days or late, once a day, and of overdue reviews; end acceptances.

    Returns how many messages went out.
    """
    today = database_now().date()
    for expired in FollowUp.objects.filter(accepted_until__lt=today):
        with transaction.atomic():
            FollowUp.objects.filter(pk=expired.pk).update(accepted_until=None)
            reopen_action_item(source_key=expired.source_key, due_on=today + DUE_AGAIN)
    told = 0
    due = action_items_from(source="review").filter(state=ActionItemState.OPEN, due_on__lte=today + REMINDED_BEFORE)
    for item in due.exclude(owner=""):
        when = f"was due on {item.due_on}" if item.due_on and item.due_on < today else f"is due on {item.due_on}"
        told += _remind(item.owner, f"follow-up:{item.source_key}:{today}", f"{item.title} {when}", item.url)
    for review in Review.objects.filter(due_on__lt=today, owner__isnull=False).exclude(state=Review.State.APPROVED):
        reference = review.incident.reference
        told += _remind(
            review.owner.get_username() if review.owner else "",
            f"review:{reference}:{today}",
            f"The review of {reference} was due on {review.due_on}",
            f"/incidents/{reference}/review/",
        )
    return told


def _remind(username: str, key: str, subject: str, link: str) -> bool:
    user = user_by_username(username=username)
    if user is None:
        return False
    send(
        channel=Channel.IN_APP,
        address=f"user:{user.pk}",
        idempotency_key=f"{key}:{user.pk}"[:255],
        subject=subject,
        text="",
        link=link,
    )
    return True
