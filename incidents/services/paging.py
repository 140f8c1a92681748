"""Page one person for one incident: once for each step and round; in a storm, folded into a digest."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature, TimestampSigner
from django.db import transaction

from accounts.data import Principal, system_principal
from core.clock import database_now
from core.formatting import written_duration
from core.identifiers import new_id
from core.parsing import refuse
from delivery.data import CHANNELS_OF, Channel, ConnectorKind, Outgoing
from delivery.selectors import connector_by_slug
from delivery.services import send, send_many
from incidents.data import IncidentStatus, OnCallPerson, TimelineKind
from incidents.models import ContactMethod, EscalationRun, Incident, NotificationRule, Page
from incidents.services.timeline import add_timeline_entries, timeline_entry

PAGER = system_principal("escalation")
PAGE_PRIORITY = 1
LINK_SALT = "incidents.acknowledge"
LINK_LIFE = timedelta(days=7)
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


@dataclass(frozen=True)
class Call:
    """A person whom the due step of a run pages."""

    run: EscalationRun
    incident: Incident
    person: OnCallPerson

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What there is one page for."""
        return (self.run.pk, self.run.step, self.run.loop, self.person.user_id)


def page_people(calls: Sequence[Call], *, now: datetime) -> list[bool]:
    """Page people by steps, in this order; of each False when the page was folded, because so many came lately.

    Who was paged by this step and round before is not paged again.
    """
    if not calls:
        return []
    known = _paged_before(calls)
    storms = _Storms(calls, now)
    rules = _rules_of({call.person.user_id for call in calls})
    pages, entries, messages, went_out = [], [], [], []
    for call in calls:
        if call.key not in known:
            known[call.key] = folds = storms.folds(call)
            run, person = call.run, call.person
            page = Page(
                run=run,
                step=run.step,
                loop=run.loop,
                user_id=person.user_id,
                incident=call.incident,
                at=now,
                why=person.why[:500],
                folded=folds,
            )
            pages.append(page)
            where = f"(step {run.step + 1}, round {run.loop + 1}: {person.why})"
            if folds:
                text = f"{person.name} is paged in a digest, because {STORM_PAGES} pages came within 5 min {where}"
            else:
                ways = _messages(page, call.incident, person, rules.get(person.user_id, ()))
                messages += [message for message, _ in ways]
                text = f"Paged {person.name} {' and '.join(told for _, told in ways)} {where}"
            entries.append(
                timeline_entry(
                    incident=call.incident,
                    kind=TimelineKind.PAGE,
                    text=text,
                    source_key=page.key,
                    principal=PAGER,
                    recorded_at=now,
                )
            )
        went_out.append(not known[call.key])
    Page.objects.bulk_create(pages)
    add_timeline_entries(entries)
    send_many(messages)
    return went_out


def _paged_before(calls: Sequence[Call]) -> dict[tuple[int, int, int, int], bool]:
    """Return the pages that these runs have led to, and whether each was folded."""
    rows = Page.objects.filter(run__in={call.run.pk for call in calls}).order_by()
    return {
        (run, step, loop, user): folded
        for run, step, loop, user, folded in rows.values_list("run_id", "step", "loop", "user_id", "folded")
    }


class _Storms:
    """Judges, one call after the other, whether so many pages came to a person lately that the next one is folded."""

    def __init__(self, calls: Sequence[Call], now: datetime) -> None:
        self._lately = Page.objects.filter(at__gt=now - STORM_WINDOW).order_by()
        people = {call.person.user_id for call in calls}
        incidents = {call.incident.pk for call in calls}
        self._services = {service.pk for call in calls for service in call.incident.services.all()}
        self._people = people
        # How many pages each had for incidents other than these (no more are counted than matter), and for which of
        # these they had one.
        self._others = {
            user: len(self._lately.filter(user=user).exclude(incident__in=incidents).values_list("pk")[:STORM_PAGES])
            for user in people
        }
        self._own: dict[int, list[int]] = {user: [] for user in people}
        own = self._lately.filter(user__in=people, incident__in=incidents)
        for user, incident in own.values_list("user_id", "incident_id"):
            self._own[user].append(incident)
        self._told: dict[tuple[int, int], set[int]] = {}

    def folds(self, call: Call) -> bool:
        """Say whether a page is folded; it counts for the calls that follow."""
        user, incident = call.person.user_id, call.incident
        services = [service.pk for service in incident.services.all()]
        lately = self._others[user] + sum(other != incident.pk for other in self._own[user])
        folds = lately >= STORM_PAGES and (not services or any(self._told_of(user, one, incident) for one in services))
        self._own[user].append(incident.pk)
        for service in services:
            self._told.setdefault((user, service), set()).add(incident.pk)
        return folds

    def _told_of(self, user: int, service: int, incident: Incident) -> bool:
        """Say whether somebody was paged about a service lately, for another incident."""
        if self._services:
            about_them = self._lately.filter(user__in=self._people, incident__services__in=self._services)
            for who, what, which in about_them.values_list("user_id", "incident__services", "incident_id").distinct():
                self._told.setdefault((who, what), set()).add(which)
            self._services = set()
        return bool(self._told.get((user, service), set()) - {incident.pk})


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


def _rules_of(people: Collection[int]) -> dict[int, list[NotificationRule]]:
    found: dict[int, list[NotificationRule]] = {}
    for rule in NotificationRule.objects.filter(method__user_id__in=people).select_related("method"):
        found.setdefault(rule.method.user_id, []).append(rule)
    return found


def _messages(
    page: Page, incident: Incident, person: OnCallPerson, rules: Sequence[NotificationRule]
) -> list[tuple[Outgoing, str]]:
    """Return what is sent to page somebody, each with the way in words.

    In the site always, and by the person's own rules, now or later; who has none is sent a mail.
    """
    subject = f"[{incident.severity.upper()}] {incident.reference} {incident.title}"
    room = f"/incidents/{incident.reference}/"
    services = ", ".join(service.name for service in incident.services.all()) or "no service"
    text = (
        f"{incident.title}\n\nService: {services}\nSeverity: {incident.severity.upper()}\n"
        f"Since: {incident.impact_started_at:%Y-%m-%d %H:%M:%S} UTC\nYou are paged because: {person.why}\n"
    )
    in_site = Outgoing(
        channel=Channel.IN_APP,
        address=f"user:{person.user_id}",
        idempotency_key=f"{page.key}:{Channel.IN_APP}",
        subject=subject,
        text=text,
        link=room,
        priority=PAGE_PRIORITY,
        about=about(incident),
    )
    told = _by_rules(page, incident, rules, subject=subject, text=text)
    if told or not person.mail:
        return [(in_site, "in the site"), *told]
    link = acknowledge_link(incident, person.user_id)
    by_mail = Outgoing(
        channel=Channel.EMAIL,
        address=person.mail,
        idempotency_key=f"{page.key}:{Channel.EMAIL}",
        subject=subject,
        text=f"{text}\nRoom: {settings.SITE_URL.rstrip('/')}{room}\nAcknowledge: {link}\n",
        priority=PAGE_PRIORITY,
        about=about(incident),
    )
    return [(in_site, "in the site"), (by_mail, "by mail")]


def _by_rules(
    page: Page, incident: Incident, rules: Sequence[NotificationRule], *, subject: str, text: str
) -> list[tuple[Outgoing, str]]:
    room = f"{settings.SITE_URL.rstrip('/')}/incidents/{incident.reference}/"
    told = []
    for rule in rules:
        if rule.severities and incident.severity not in rule.severities:
            continue
        channel = Channel(rule.method.channel)
        link = acknowledge_link(incident, page.user_id)
        token = link.rstrip("/").rpartition("/")[2]
        body = f"{text}\nRoom: {room}\nAcknowledge: {link}\n"
        message = Outgoing(
            channel=channel,
            address=rule.method.address,
            idempotency_key=f"{page.key}:{channel}-{rule.pk}",
            subject=subject,
            text=body if channel is Channel.EMAIL else text,
            payload=None
            if channel is Channel.EMAIL
            else {"acknowledge": token, "acknowledge_url": link, "voice_url": voice_link(token)},
            link="" if channel is Channel.EMAIL else room,
            priority=PAGE_PRIORITY,
            about=about(incident),
            delay=rule.delay,
        )
        told.append((message, f"by {channel}{f' after {written_duration(rule.delay)}' if rule.delay else ''}"))
    return told


def voice_link(token: str) -> str:
    """Return the address from which a provider fetches what a call says."""
    return f"{settings.SITE_URL.rstrip('/')}/phone/voice/{token}/"


def person_of_link(token: str) -> tuple[Incident, int] | None:
    """Return the incident and person that a signed link names, or None when it is not one, too old, or of nobody."""
    try:
        incident_id, _, user_id = TimestampSigner(salt=LINK_SALT).unsign(token, max_age=LINK_LIFE).partition(":")
    except BadSignature:
        return None
    incident = Incident.objects.filter(pk=int(incident_id)).first()
    return (incident, int(user_id)) if incident is not None else None


def save_contact_method(
    *, principal: Principal, channel: Channel, address: str, delay: timedelta, severities: Sequence[str] = ()
) -> NotificationRule:
    """Let one's own pages go out by a way of one's own. Raises InputRefusedError when the way does not exist."""
    if principal.user_id is None:
        raise PermissionDenied("Only a person is paged.")
    address = address.strip()
    if channel in {Channel.WEBHOOK, Channel.IN_APP}:
        raise refuse("channel", found=channel, allowed="mail, Slack, Teams, SMS, voice and Apprise are allowed")
    if channel is Channel.EMAIL:
        if "@" not in address:
            raise refuse("address", found=address, allowed="a mail address is allowed")
    else:
        connector = connector_by_slug(slug=address.partition("/")[0])
        if connector is None or channel not in CHANNELS_OF[ConnectorKind(connector.kind)]:
            raise refuse("address", found=address, allowed="CONNECTOR/TARGET of a connector of this kind is allowed")
    with transaction.atomic():
        method, _ = ContactMethod.objects.get_or_create(user_id=principal.user_id, channel=channel, address=address)
        rule, _ = NotificationRule.objects.update_or_create(
            method=method, delay=delay, defaults={"severities": list(severities)}
        )
    return rule


def remove_rule(*, principal: Principal, rule_id: int) -> None:
    """Remove one of one's own rules, and its contact method once no rule is left."""
    if principal.user_id is None:
        return
    with transaction.atomic():
        NotificationRule.objects.filter(pk=rule_id, method__user_id=principal.user_id).delete()
        ContactMethod.objects.filter(user_id=principal.user_id, rules=None).delete()


def send_test_page(*, principal: Principal, mail: str) -> int:
    """Send oneself a page by every way one has set up, at once; returns by how many."""
    if principal.user_id is None:
        raise PermissionDenied("Only a person is paged.")
    key = new_id("test")
    methods = [(Channel(one.channel), one.address) for one in ContactMethod.objects.filter(user_id=principal.user_id)]
    ways = [(Channel.IN_APP, f"user:{principal.user_id}"), *(methods or ([(Channel.EMAIL, mail)] if mail else []))]
    for channel, address in ways:
        send(
            channel=channel,
            address=address,
            idempotency_key=f"{key}:{channel}:{address}"[:255],
            subject="A test page from Assay",
            text="You asked for it. Nothing is wrong.",
            payload=None if channel in {Channel.EMAIL, Channel.IN_APP} else {"voice_url": voice_link("test")},
            priority=PAGE_PRIORITY,
            about=f"test:{principal.user_id}",
        )
    return len(ways)


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
