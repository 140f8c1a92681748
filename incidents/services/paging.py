"""Page one person for one incident: once for each step and round; in a storm, folded into a digest."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.signing import TimestampSigner
from django.db import transaction

from accounts.data import system_principal
from core.clock import database_now
from delivery.data import Channel
from delivery.services import send
from incidents.data import IncidentStatus, OnCallPerson, TimelineKind
from incidents.models import EscalationRun, Incident, Page
from incidents.services.timeline import add_timeline_entry

PAGER = system_principal("escalation")
PAGE_PRIORITY = 1
LINK_SALT = "incidents.acknowledge"
# A storm for a person: this many pages within the window. The first page of a service always goes out by itself.
STORM_PAGES = 5
STORM_WINDOW = timedelta(minutes=5)
DIGEST_EVERY = timedelta(minutes=1)


def about(incident: Incident) -> str:
    """Return how deliveries refer to an incident."""
    return f"incident:{incident.reference}"


def acknowledge_link(incident: Incident, user_id: int) -> str:
    """Return the address of the page on which this person, and nobody else, acknowledges without signing in."""
    token = TimestampSigner(salt=LINK_SALT).sign(f"{incident.pk}:{user_id}")
    return f"{settings.SITE_URL.rstrip('/')}/incidents/acknowledge/{token}/"


def page_person(run: EscalationRun, incident: Incident, person: OnCallPerson) -> bool:
    """Page somebody by a step; False when the page was folded, because so many came to this person lately."""
    now = database_now()
    folds = _is_storm(person.user_id, incident, now)
    page, created = Page.objects.get_or_create(
        run=run,
        step=run.step,
        loop=run.loop,
        user_id=person.user_id,
        defaults={"incident": incident, "at": now, "why": person.why[:500], "folded": folds},
    )
    if not created:
        return not page.folded
    where = f"(step {run.step + 1}, round {run.loop + 1}: {person.why})"
    if folds:
        text = f"{person.name} is paged in a digest, because {STORM_PAGES} pages came within 5 min {where}"
    else:
        text = f"Paged {person.name} {' and '.join(_send(page, incident, person))} {where}"
    add_timeline_entry(
        incident=incident, kind=TimelineKind.PAGE, text=text, source_key=page.key, principal=PAGER, at=now
    )
    return not folds


def send_digests() -> int:
    """Send each person who is in a storm one message that lists what was folded; returns how many were sent."""
    now = database_now()
    waiting = Page.objects.filter(folded=True, digest_key="")
    sent = 0
    for user_id in set(waiting.values_list("user_id", flat=True)):
        last = Page.objects.filter(user_id=user_id).exclude(digest_key="").order_by("-pk").first()
        if last is not None and now < _minute_of(last.digest_key) + DIGEST_EVERY:
            continue
        with transaction.atomic():
            rows = Page.objects.select_for_update(of=("self",)).select_related("incident", "user")
            pages = list(rows.filter(user_id=user_id, folded=True, digest_key=""))
            if not pages:
                continue
            key = f"digest:{user_id}:{int(now.timestamp())}"
            Page.objects.filter(pk__in=[page.pk for page in pages]).update(digest_key=key)
            _send_digest(key, pages)
            for page in pages:
                Incident.objects.filter(pk=page.incident_id, first_notified_at=None).update(first_notified_at=now)
            sent += 1
    return sent


def _is_storm(user_id: int, incident: Incident, now: datetime) -> bool:
    recent = Page.objects.filter(user_id=user_id, at__gt=now - STORM_WINDOW).exclude(incident=incident)
    if recent.count() < STORM_PAGES:
        return False
    services = list(incident.services.values_list("pk", flat=True))
    return not services or recent.filter(incident__services__in=services).exists()


def _send(page: Page, incident: Incident, person: OnCallPerson) -> list[str]:
    subject = f"[{incident.severity.upper()}] {incident.reference} {incident.title}"
    room = f"/incidents/{incident.reference}/"
    services = ", ".join(incident.services.values_list("name", flat=True)) or "no service"
    text = (
        f"{incident.title}\n\nService: {services}\nSeverity: {incident.severity.upper()}\n"
        f"Since: {incident.impact_started_at:%Y-%m-%d %H:%M:%S} UTC\nYou are paged because: {person.why}\n"
    )
    send(
        channel=Channel.IN_APP,
        address=f"user:{person.user_id}",
        idempotency_key=f"{page.key}:{Channel.IN_APP}",
        subject=subject,
        text=text,
        link=room,
        priority=PAGE_PRIORITY,
        about=about(incident),
    )
    if not person.mail:
        return ["in the site"]
    link = acknowledge_link(incident, person.user_id)
    send(
        channel=Channel.EMAIL,
        address=person.mail,
        idempotency_key=f"{page.key}:{Channel.EMAIL}",
        subject=subject,
        text=f"{text}\nRoom: {settings.SITE_URL.rstrip('/')}{room}\nAcknowledge: {link}\n",
        priority=PAGE_PRIORITY,
        about=about(incident),
    )
    return ["in the site", "by mail"]


def _send_digest(key: str, pages: list[Page]) -> None:
    user = pages[0].user
    site = settings.SITE_URL.rstrip("/")
    still = [page for page in pages if page.incident.status == IncidentStatus.TRIGGERED]
    lines = [
        f"[{page.incident.severity.upper()}] {page.incident.reference} {page.incident.title}"
        f"{'' if page in still else ' (taken on meanwhile)'}"
        for page in pages
    ]
    links = [f"{page.incident.reference}: {acknowledge_link(page.incident, user.pk)}" for page in still]
    subject = f"{len(pages)} more pages: {', '.join(page.incident.reference for page in pages[:10])}"
    head = "So many pages came to you within five minutes that these are told together:\n\n" + "\n".join(lines)
    send(
        channel=Channel.IN_APP,
        address=f"user:{user.pk}",
        idempotency_key=f"{key}:{Channel.IN_APP}",
        subject=subject,
        text=head,
        link="/incidents/?status=triggered",
        priority=PAGE_PRIORITY,
        about=key,
    )
    if user.email:
        send(
            channel=Channel.EMAIL,
            address=user.email,
            idempotency_key=f"{key}:{Channel.EMAIL}",
            subject=subject,
            text=f"{head}\n\nAll: {site}/incidents/?status=triggered\n\nAcknowledge:\n" + "\n".join(links),
            priority=PAGE_PRIORITY,
            about=key,
        )


def _minute_of(digest_key: str) -> datetime:
    return datetime.fromtimestamp(int(digest_key.rsplit(":", 1)[1]), UTC)
