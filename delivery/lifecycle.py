"""What the room keeps, for how long, and of whom."""

from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from core.lifecycle import DataClass, Held, Person, PersonalData, deleted, register_class, register_personal
from delivery.models import Delivery, Notification


def _old(before: datetime) -> QuerySet[Delivery]:
    settled = Q(finished_at__isnull=False) | Q(dead_at__isnull=False) | Q(withdrawn_at__isnull=False)
    return Delivery.objects.filter(settled, created_at__lt=before)


def _spare(rows: QuerySet[Delivery], held: Held) -> QuerySet[Delivery]:
    """Keep what is about a held incident; of services and engagements a delivery says nothing, so it stays."""
    if held.services or held.engagements:
        return rows.none()
    return rows.exclude(about__in=[f"incident:{reference}" for reference in held.incidents])


def _mails(person: Person) -> QuerySet[Delivery]:
    return Delivery.objects.filter(Q(address=person.reference) | Q(address=person.email or "-"))


def _erase_mails(person: Person) -> int:
    return _mails(person).update(address=f"erased-{person.user_id}", subject="erased", text="", payload=None)


def _notifications(person: Person) -> QuerySet[Notification]:
    return Notification.objects.filter(recipient=person.reference)


register_class(
    DataClass(
        key="delivery.deliveries",
        name="Deliveries",
        says="Mail, webhooks and messages that have left or were given up, with their tries.",
        default=timedelta(days=180),
        floor=timedelta(days=7),
        old=_old,
        at="created_at",
        spare=_spare,
    )
)
register_class(
    DataClass(
        key="delivery.notifications",
        name="Notifications in the site",
        says="What the site told people, read or not.",
        default=timedelta(days=180),
        floor=timedelta(days=7),
        ceiling=timedelta(days=1100),
        old=lambda before: Notification.objects.filter(created_at__lt=before),
        at="created_at",
        spare=lambda rows, _: rows,
    )
)
register_personal(
    PersonalData(
        key="delivery.deliveries",
        name="Messages sent to them",
        rows=_mails,
        shown=("reference", "channel", "address", "subject", "about", "state", "created_at"),
        erase=_erase_mails,
    )
)
register_personal(
    PersonalData(
        key="delivery.notifications",
        name="Notifications",
        rows=_notifications,
        shown=("title", "text", "link", "created_at", "read_at"),
        erase=deleted(_notifications),
    )
)
