"""Swap requests, absences, calendars out and in, and the warning of gaps ahead."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import principal_for_user, user_by_username, users_with
from accounts.services import ensure_may
from core.clock import database_now
from core.formatting import written_duration
from core.parsing import refuse
from delivery.data import Channel
from delivery.services import send
from incidents.domain.calendars import CalendarEvent, CalendarRefusedError, read_calendar, write_calendar
from incidents.domain.oncall import gaps
from incidents.models import Absence, FeedToken, Schedule, ScheduleOverride, SwapRequest
from incidents.selectors.oncall import conflicts_of, names_in, names_of, shifts_between
from incidents.services.integrations import hash_of
from incidents.services.oncall import add_override, end_override
from ledger.data.access import AuditedAction
from ledger.services import record

FEED_BACK = timedelta(days=30)
FEED_AHEAD = timedelta(days=365)
WARNED_AHEAD = timedelta(days=14)
LARGEST_CALENDAR = 2_000_000


def request_swap(
    *, principal: Principal, schedule: Schedule, starts_at: datetime, ends_at: datetime, reason: str = ""
) -> SwapRequest:
    """Ask for somebody to stand in for oneself; the team is told. Raises when one is not on call in that time."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=schedule.team_id)
    now = database_now()
    starts_at = max(starts_at, now)
    if principal.user_id is None or ends_at <= starts_at:
        raise refuse("ends_at", found=ends_at.isoformat(), allowed="an end after the start, asked for by a person")
    people = users_with(Capability.INCIDENT_RESPOND, team_id=schedule.team_id)
    own = people.filter(pk=principal.user_id).first()
    names = {name for shift in shifts_between(schedule=schedule, start=starts_at, end=ends_at) for name in shift.people}
    if own is None or own.get_username() not in names:
        raise refuse("swap", found=principal.label, allowed="only somebody who is on call then can ask for a stand-in")
    with transaction.atomic():
        swap = SwapRequest.objects.create(
            schedule=schedule, requester=own, starts_at=starts_at, ends_at=ends_at, reason=reason[:200]
        )
        for user in people.exclude(pk=own.pk):
            send(
                channel=Channel.IN_APP,
                address=f"user:{user.pk}",
                idempotency_key=f"swap:{swap.pk}:{user.pk}",
                subject=f"{own} asks for a stand-in in {schedule.name}",
                text=f"From {starts_at:%Y-%m-%d %H:%M} to {ends_at:%Y-%m-%d %H:%M} UTC. {reason}".strip(),
                link=f"/oncall/{schedule.slug}/",
            )
    return swap


def take_swap(*, principal: Principal, swap: SwapRequest) -> ScheduleOverride:
    """Stand in: an override is set. Raises when it is taken already, by oneself, or over."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=swap.schedule.team_id)
    if principal.user_id is None or principal.user_id == swap.requester_id:
        raise refuse("swap", found=principal.label, allowed="another person than the one who asks takes it")
    with transaction.atomic():
        now = database_now()
        taken = SwapRequest.objects.filter(pk=swap.pk, state=SwapRequest.State.OPEN).update(
            state=SwapRequest.State.TAKEN, taken_by_id=principal.user_id, settled_at=now
        )
        if not taken:
            raise refuse("swap", found="a request that is settled", allowed="an open one can be taken")
        override = add_override(
            principal=principal,
            schedule=swap.schedule,
            user_id=principal.user_id,
            starts_at=swap.starts_at,
            ends_at=swap.ends_at,
            reason=f"stands in for {swap.requester}",
        )
        SwapRequest.objects.filter(pk=swap.pk).update(override=override)
        send(
            channel=Channel.IN_APP,
            address=f"user:{swap.requester_id}",
            idempotency_key=f"swap:{swap.pk}:taken",
            subject=f"{principal.label} stands in for you in {swap.schedule.name}",
            text="",
            link=f"/oncall/{swap.schedule.slug}/",
        )
    return override


def cancel_swap(*, principal: Principal, swap: SwapRequest) -> None:
    """Take one's own request back, while nobody has taken it."""
    if principal.user_id != swap.requester_id:
        raise PermissionDenied(f"{principal.label} may not do this: it is somebody else's request.")
    SwapRequest.objects.filter(pk=swap.pk, state=SwapRequest.State.OPEN).update(
        state=SwapRequest.State.CANCELLED, settled_at=database_now()
    )


def import_absences(*, principal: Principal, raw: bytes, zone: str) -> int:
    """Read when the principal is away from a calendar of theirs; what it no longer holds is removed. Returns how many.

    Raises InputRefusedError.
    """
    if principal.user_id is None:
        raise PermissionDenied("Only a person is ever away.")
    now = database_now()
    events = _read(raw, zone, now)
    with transaction.atomic():
        Absence.objects.filter(user_id=principal.user_id, ends_at__gt=now).exclude(source_key="").delete()
        Absence.objects.bulk_create(
            [
                Absence(
                    user_id=principal.user_id,
                    starts_at=one.starts_at,
                    ends_at=one.ends_at,
                    title=one.title,
                    source_key=one.key,
                )
                for one in {event.key: event for event in events}.values()
            ],
            ignore_conflicts=True,
        )
    return len(events)


@dataclass(frozen=True)
class ImportedOverrides:
    """What was set, and the titles of events that name nobody."""

    overrides: list[ScheduleOverride]
    unknown: list[str]


def import_overrides(*, principal: Principal, schedule: Schedule, raw: bytes) -> ImportedOverrides:
    """Set an override for each coming event of a calendar whose title is a user name. Raises InputRefusedError."""
    ensure_may(principal, Capability.ONCALL_EDIT, team_id=schedule.team_id)
    made, unknown = [], []
    with transaction.atomic():
        for event in _read(raw, schedule.time_zone, database_now()):
            user = user_by_username(username=event.title.strip())
            if user is None:
                unknown.append(event.title)
                continue
            reason = f"calendar {event.key}"[:200]
            if schedule.overrides.filter(reason=reason, user=user).exists():
                continue
            made.append(
                add_override(
                    principal=principal,
                    schedule=schedule,
                    user_id=user.pk,
                    starts_at=event.starts_at,
                    ends_at=event.ends_at,
                    reason=reason,
                )
            )
    return ImportedOverrides(made, sorted(set(unknown)))


def add_absence(*, principal: Principal, starts_at: datetime, ends_at: datetime, title: str = "") -> Absence:
    """Note that the principal is away."""
    if principal.user_id is None or ends_at <= starts_at:
        raise refuse("ends_at", found=ends_at.isoformat(), allowed="an end after the start is allowed")
    return Absence.objects.create(user_id=principal.user_id, starts_at=starts_at, ends_at=ends_at, title=title[:200])


def make_feed(*, principal: Principal, schedule: Schedule | None) -> str:
    """Return the secret address of a calendar: of the principal's own shifts, or of a whole schedule.

    The former address of the same calendar stops working.
    """
    if schedule is not None:
        ensure_may(principal, Capability.OPERATIONS_VIEW, team_id=schedule.team_id)
    if principal.user_id is None:
        raise PermissionDenied("Only a person subscribes to a calendar.")
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        FeedToken.objects.filter(user_id=principal.user_id, schedule=schedule).delete()
        FeedToken.objects.create(
            token_hash=hash_of(token), user_id=principal.user_id, schedule=schedule, created_at=database_now()
        )
    return f"{settings.SITE_URL.rstrip('/')}/oncall/feed/{token}.ics"


@dataclass(frozen=True)
class Feed:
    """A calendar as it is sent."""

    content: bytes
    etag: str


def feed_for(*, token: str) -> Feed | None:
    """Return the calendar of a secret address; None when the address is not known, or its owner may not see it."""
    known = FeedToken.objects.select_related("user", "schedule__team").filter(token_hash=hash_of(token)).first()
    if known is None or not known.user.is_active:
        return None
    owner = principal_for_user(user=known.user)
    if known.schedule is not None and not owner.may(Capability.OPERATIONS_VIEW, team_id=known.schedule.team_id):
        return None
    now = database_now()
    FeedToken.objects.filter(pk=known.pk).update(last_used_at=now)
    # Whole days, so that the same day gives the same bytes.
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    shown = [known.schedule] if known.schedule else list(Schedule.objects.prefetch_related("versions"))
    own = None if known.schedule else known.user.get_username()
    found = []
    changes = [known.created_at]
    sequence = 0
    for schedule in shown:
        shifts = shifts_between(schedule=schedule, start=day - FEED_BACK, end=day + FEED_AHEAD)
        found.append((schedule.slug, [one for one in shifts if own is None or own in one.people]))
        versions = list(schedule.versions.all())
        changes += [version.effective_from for version in versions]
        sequence += len(versions) + schedule.overrides.count()
    name = known.schedule.name if known.schedule else f"On call: {known.user}"
    names = names_of(usernames={one for _, shifts in found for shift in shifts for one in shift.people})
    content = write_calendar(name, found, changed_at=max(changes), sequence=sequence, names=names)
    return Feed(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@transaction.atomic
def take_out_leaver(*, principal: Principal, user_id: int, username: str) -> list[str]:
    """End the stand-ins and requests of somebody who left, and tell of the gaps; returns the schedules concerned.

    Their turns need no change: whoever left is in no shift from then on (`shifts_between`).
    """
    now = database_now()
    for override in ScheduleOverride.objects.select_related("schedule").filter(user_id=user_id, ends_at__gt=now):
        end_override(principal=principal, override=override)
    SwapRequest.objects.filter(requester_id=user_id, state=SwapRequest.State.OPEN).update(
        state=SwapRequest.State.CANCELLED
    )
    concerned = [
        schedule
        for schedule in Schedule.objects.prefetch_related("versions")
        if any(username in names_in(version.layers) for version in schedule.versions.all())
    ]
    if concerned:
        slugs = [schedule.slug for schedule in concerned]
        action = AuditedAction(action="oncall.leaver_taken_out", target=username, after={"schedules": ", ".join(slugs)})
        record(action, actor=principal.reference, subject=f"user:{username}")
        warn_of_gaps(only=slugs, occasion=f"left:{user_id}:{now:%Y%m%d%H%M}")
    return [schedule.slug for schedule in concerned]


def warn_of_gaps(*, only: list[str] | None = None, occasion: str = "") -> int:
    """Tell those who look after a schedule of gaps and absences ahead, once a day and occasion.

    Returns how many were told.
    """
    now = database_now()
    told = 0
    found = Schedule.objects.prefetch_related("versions")
    for schedule in found if only is None else found.filter(slug__in=only):
        shifts = shifts_between(schedule=schedule, start=now, end=now + WARNED_AHEAD)
        missing = gaps(shifts, now, now + WARNED_AHEAD)
        away = conflicts_of(shifts=shifts)
        if not missing and not away:
            continue
        lines = [
            f"Nobody is on call from {from_:%Y-%m-%d %H:%M} UTC for {written_duration(until - from_)}."
            for from_, until in missing[:20]
        ]
        lines += [
            f"{absence.user} is on call and away from {max(shift.starts_at, absence.starts_at):%Y-%m-%d %H:%M} UTC."
            for shift, absence in away[:20]
        ]
        for user in users_with(Capability.ONCALL_EDIT, team_id=schedule.team_id):
            send(
                channel=Channel.IN_APP,
                address=f"user:{user.pk}",
                idempotency_key=f"gaps:{schedule.slug}:{occasion or now.strftime('%Y-%m-%d')}:{user.pk}",
                subject=f"{schedule.name}: {len(missing)} gaps and {len(away)} absences within two weeks",
                text="\n".join(lines),
                link=f"/oncall/{schedule.slug}/",
            )
            told += 1
    return told


def _read(raw: bytes, zone: str, now: datetime) -> list[CalendarEvent]:
    if len(raw) > LARGEST_CALENDAR:
        raise refuse("calendar", found=f"{len(raw)} bytes", allowed=f"at most {LARGEST_CALENDAR} bytes are allowed")
    try:
        return read_calendar(raw, zone=zone, start=now, end=now + FEED_AHEAD)
    except CalendarRefusedError as error:
        raise refuse("calendar", found="a file", allowed=str(error)) from None
