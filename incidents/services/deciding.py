"""Decide what an alert leads to: its routes, its service, and what keeps it from paging. Reads only.

The configuration is loaded once as a `Ruleset`, so that a draft can be judged by the same code as what is live.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from catalog.selectors import dependencies, services_by_slugs
from incidents.data import IncidentStatus, Severity
from incidents.domain.routing import Rule, parse_matcher, route
from incidents.domain.silencing import Quiet, quiet_for
from incidents.models import Alert, Incident, Route, Silence

FLAP_EPISODES = 4
FLAP_WINDOW = timedelta(minutes=30)
SEVERE = (Severity.SEV1, Severity.SEV2)


@dataclass(frozen=True)
class Ruleset:
    """Routes in order, silences that may hold, what needs what, and the severe incidents that are open."""

    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]
    quiets: tuple[Quiet, ...]
    needs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    severe: Mapping[str, str] = field(default_factory=dict)
    known_services: dict[str, Any] = field(default_factory=dict, compare=False)

    def service(self, slug: str) -> Any:
        """Return a service of the catalogue, or None; asked for once for each load of the configuration."""
        if slug not in self.known_services:
            self.known_services[slug] = services_by_slugs([slug]).first()
        return self.known_services[slug]

    def know_services(self, alerts: Iterable[Mapping[str, str]]) -> None:
        """Ask once for all services that alerts with these labels may name."""
        names = {"service", *(one.service_label for one in self.routes)}
        wanted = {slug for labels in alerts for name in names if (slug := labels.get(name, ""))}
        wanted -= set(self.known_services)
        self.known_services.update(dict.fromkeys(wanted))
        self.known_services.update({one.slug: one for one in services_by_slugs(sorted(wanted))})

    def with_routes(self, routes: Iterable[Route]) -> "Ruleset":
        """Return the same with other routes, to judge a draft."""
        ordered = tuple(sorted(routes, key=lambda one: (one.position, one.slug)))
        return replace(self, routes=ordered, rules=rules_of(ordered))


@dataclass(frozen=True)
class Decision:
    """What follows from an alert. `hold` names what keeps it from paging (`silence:SIL-3`), empty when nothing does."""

    routes: tuple[Route, ...]
    service: Any
    words: str
    steps: tuple[str, ...]
    hold: str = ""
    hold_words: str = ""

    @property
    def route(self) -> Route | None:
        """The first route that matched."""
        return self.routes[0] if self.routes else None

    @property
    def pages(self) -> bool:
        """Whether it opens or joins an incident."""
        return bool(self.routes) and not self.hold and any(one.opens_incident for one in self.routes)


def load_rules(*, now: datetime) -> Ruleset:
    """Return the live configuration."""
    routes = tuple(Route.objects.select_related("policy", "service"))
    quiets = tuple(quiet_of(one) for one in live_silences(now=now))
    if not any(one.hold_behind_providers for one in routes):
        return Ruleset(routes, rules_of(routes), quiets)
    needs: dict[str, set[str]] = {}
    for consumer, provider in dependencies():
        needs.setdefault(consumer, set()).add(provider)
    open_severe = Incident.objects.filter(severity__in=SEVERE).exclude(status=IncidentStatus.RESOLVED)
    severe = {slug: f"INC-{pk}" for pk, slug in open_severe.values_list("pk", "services__slug") if slug}
    frozen = {consumer: frozenset(providers) for consumer, providers in needs.items()}
    return Ruleset(routes, rules_of(routes), quiets, frozen, severe)


def live_silences(*, now: datetime) -> Sequence[Silence]:
    """Return the silences that hold now or recur."""
    return list(
        Silence.objects.filter(ended_at=None).filter(
            Q(recurrence="", starts_at__lte=now, ends_at__gt=now) | (~Q(recurrence="") & Q(starts_at__lte=now))
        )
    )


def quiet_of(silence: Silence) -> Quiet:
    """Return a silence as the rules see it."""
    return Quiet(
        reference=silence.reference,
        matchers=tuple(parse_matcher(text) for text in silence.matchers),
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        zone=silence.time_zone,
        recurrence=silence.recurrence,
        reason=silence.reason,
    )


def rules_of(routes: Iterable[Route]) -> tuple[Rule, ...]:
    """Return routes as matching needs them."""
    return tuple(Rule(one.slug, tuple(parse_matcher(text) for text in one.matchers), one.continues) for one in routes)


def decide(rules: Ruleset, *, labels: Mapping[str, str], sender: str, now: datetime) -> Decision:
    """Return what follows from an alert with these labels now."""
    seen = {"integration": sender, **labels}
    routing = route(rules.rules, seen)
    by_name = {one.slug: one for one in rules.routes}
    routes = tuple(by_name[rule.name] for rule in routing.matched)
    service = _service_for(rules, routes[0] if routes else None, labels)
    found = Decision(routes, service, routing.words, routing.steps)
    if not any(one.opens_incident for one in routes):
        return found
    held = quiet_for(rules.quiets, seen, now)
    if held is not None:
        quiet, (_, until) = held
        words = f"silenced by {quiet.reference} ({quiet.reason}) until {until:%Y-%m-%d %H:%M} UTC"
        return replace(found, hold=f"silence:{quiet.reference}", hold_words=words, steps=(*found.steps, words))
    steps = (*found.steps, f"no silence fits ({len(rules.quiets)} looked at)")
    if routes[0].hold_behind_providers and service is not None:
        behind = _severe_provider(rules, service.slug)
        if behind is not None:
            provider, reference = behind
            words = f"held: {service.slug} needs {provider}, which has {reference} open"
            return replace(found, hold=f"incident:{reference}", hold_words=words, steps=(*steps, words))
        steps = (*steps, f"nothing that {service.slug} needs has a severe incident")
    return replace(found, steps=steps)


def is_flapping(*, integration_id: int, fingerprint: str, now: datetime) -> int:
    """Return how many episodes an alert had in the last half hour where that is flapping, else 0."""
    recent = Alert.objects.filter(
        integration_id=integration_id, fingerprint=fingerprint, first_received_at__gt=now - FLAP_WINDOW
    ).count()
    return recent if recent >= FLAP_EPISODES else 0


def _severe_provider(rules: Ruleset, slug: str) -> tuple[str, str] | None:
    """Return the nearest provider, direct or through others, that has a severe incident open."""
    seen = {slug}
    front = [slug]
    while front:
        following: list[str] = []
        for consumer in front:
            for provider in sorted(rules.needs.get(consumer, ())):
                if provider in rules.severe:
                    return provider, rules.severe[provider]
                if provider not in seen:
                    seen.add(provider)
                    following.append(provider)
        front = following
    return None


def _service_for(rules: Ruleset, found: Route | None, labels: Mapping[str, str]) -> Any:
    if found is not None and found.service is not None:
        return found.service
    slug = labels.get(found.service_label if found is not None else "service", "")
    return rules.service(slug) if slug else None
