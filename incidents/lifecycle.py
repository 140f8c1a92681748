"""What the room keeps, for how long, and of whom."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from core.lifecycle import (
    DataClass,
    Held,
    Person,
    PersonalData,
    deleted,
    kept_for,
    register_class,
    register_personal,
    register_subject_lookup,
    without,
)
from incidents.models import (
    Absence,
    Alert,
    ContactMethod,
    FeedToken,
    InboundEvent,
    Incident,
    Page,
    RoleAssignment,
    TimelineEntry,
)
from incidents.services.outliving import BODIES, INBOUND_CLASS, drop_bodies, remove_events

NUMBERS = "It refers to the person by the account's number; the name is gone with the account."


def _incident_numbers(held: Held) -> list[str]:
    return [number for one in held.incidents if (number := one.removeprefix("INC-")).isdecimal()]


def _old_bodies(before: datetime) -> QuerySet[InboundEvent]:
    worked_off = Q(finished_at__isnull=False) | Q(dead_at__isnull=False)
    return InboundEvent.objects.filter(worked_off, received_at__lt=before).exclude(alerts__status="firing")


def _spare_bodies(rows: QuerySet[InboundEvent], held: Held) -> QuerySet[InboundEvent]:
    if held.engagements:
        return rows.none()
    rows = without(rows, held.services, service="alerts__service__slug")
    return without(rows, _incident_numbers(held), incident="alerts__incident__pk")


def _subjects(held: Held) -> list[str]:
    """Return the incidents of held services."""
    found = Incident.objects.filter(services__slug__in=held.services) if held.services else Incident.objects.none()
    return sorted({f"incident:{one.reference}" for one in found})


register_subject_lookup(_subjects)


def _old_alerts(before: datetime) -> QuerySet[Alert]:
    closed = Q(incident__isnull=True) | Q(incident__resolved_at__lt=before)
    return Alert.objects.filter(closed, resolved_at__lt=before).exclude(status="firing")


def _spare_alerts(rows: QuerySet[Alert], held: Held) -> QuerySet[Alert]:
    if held.engagements:
        return rows.none()
    rows = without(rows, held.services, service="service__slug")
    return without(rows, _incident_numbers(held), incident="incident__pk")


def _remove_bodies(keys: Sequence[Any]) -> int:
    return remove_events(keys, keep=kept_for(INBOUND))


INBOUND = DataClass(
    key=INBOUND_CLASS,
    name="Inbound bodies",
    says="What senders of alerts posted, byte for byte, once it is worked off. On PostgreSQL, with a rule of 60 days "
    "or more, events go at once and the bytes, which nothing leads to any more, with their month.",
    default=timedelta(days=90),
    floor=timedelta(days=7),
    old=_old_bodies,
    at="received_at",
    spare=_spare_bodies,
    remove=_remove_bodies,
    drop=drop_bodies,
    table=BODIES,
)
register_class(INBOUND)
register_class(
    DataClass(
        key="incidents.alerts",
        name="Alerts",
        says="Episodes that are over and whose incident, if any, is resolved. Their ledger entries stay.",
        default=timedelta(days=400),
        floor=timedelta(days=30),
        old=_old_alerts,
        at="resolved_at",
        spare=_spare_alerts,
    )
)


def _contacts(person: Person) -> QuerySet[ContactMethod]:
    return ContactMethod.objects.filter(user_id=person.user_id)


def _absences(person: Person) -> QuerySet[Absence]:
    return Absence.objects.filter(user_id=person.user_id)


def _feeds(person: Person) -> QuerySet[FeedToken]:
    return FeedToken.objects.filter(user_id=person.user_id)


def _written(person: Person) -> QuerySet[TimelineEntry]:
    return TimelineEntry.objects.filter(actor=person.reference)


def _erase_written(person: Person) -> int:
    return _written(person).update(actor_label=f"erased person {person.user_id}")


for data in (
    PersonalData(
        "incidents.contacts", "Ways to reach them", _contacts, ("channel", "address", "created_at"), deleted(_contacts)
    ),
    PersonalData("incidents.absences", "Absences", _absences, ("starts_at", "ends_at", "title"), deleted(_absences)),
    PersonalData("incidents.feeds", "Calendar addresses", _feeds, ("created_at", "last_used_at"), deleted(_feeds)),
    PersonalData(
        "incidents.timeline", "Timeline by them", _written, ("at", "kind", "text", "actor_label"), _erase_written
    ),
    PersonalData(
        "incidents.pages",
        "Pages to them",
        lambda person: Page.objects.filter(user_id=person.user_id),
        ("incident", "at", "why", "folded"),
        kept_because=NUMBERS,
    ),
    PersonalData(
        "incidents.roles",
        "Roles in incidents",
        lambda person: RoleAssignment.objects.filter(user_id=person.user_id),
        ("incident", "role", "assigned_at"),
        kept_because=NUMBERS,
    ),
):  # fmt: skip
    register_personal(data)
