"""Reads of the catalog."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Prefetch, Q, QuerySet

from accounts.data import Capability, Principal
from accounts.selectors import teams
from catalog.data import ActionItemState, ActivityKind
from catalog.models import ActionItem, Activity, Dependency, Deployment, Environment, Service


def services_visible(*, viewer: Principal) -> QuerySet[Service]:
    """Return the services that the viewer may see, most important first."""
    found = Service.objects.select_related("team", "environment", "region")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    if not teams:
        return found.none()
    return found.filter(Q(team_id__in=teams) | Q(team__isnull=True))


def services_named(text: str, *, viewer: Principal) -> QuerySet[Service]:
    """Return the services that the viewer may see with each of these words in their name or slug."""
    found = services_visible(viewer=viewer)
    for word in text.split():
        found = found.filter(Q(name__icontains=word) | Q(slug__icontains=word))
    return found


def service_by_slug(*, slug: str) -> Service | None:
    """Return a service."""
    return Service.objects.select_related("team", "environment", "region").filter(slug=slug).first()


def services_by_slugs(slugs: Iterable[str]) -> QuerySet[Service]:
    """Return the services of these slugs; unknown ones are left out."""
    return Service.objects.select_related("team", "environment").filter(slug__in=list(slugs))


def environment_ids() -> dict[str, int]:
    """Return the primary key of each environment by its slug."""
    return dict(Environment.objects.values_list("slug", "pk"))


def dependencies() -> list[tuple[str, str]]:
    """Return every dependency as (consumer, provider) slugs."""
    return list(Dependency.objects.values_list("consumer__slug", "provider__slug"))


def dependents_of(*, service_ids: Iterable[int]) -> set[int]:
    """Return every service that needs one of these, directly or through others; cycles are harmless."""
    needed_by: dict[int, set[int]] = {}
    for consumer, provider in Dependency.objects.values_list("consumer_id", "provider_id"):
        needed_by.setdefault(provider, set()).add(consumer)
    found: set[int] = set()
    front = set(service_ids)
    while front:
        front = set().union(*(needed_by.get(service, set()) for service in front)) - found
        found |= front
    return found


def activities_between(
    start: datetime, end: datetime, *, service_id: int | None = None, kinds: Iterable[ActivityKind] = ()
) -> QuerySet[Activity]:
    """Return activities that overlap an interval, newest first."""
    found = Activity.objects.filter(Q(ended_at__isnull=True) | Q(ended_at__gte=start), started_at__lt=end)
    if service_id is not None:
        found = found.filter(services=service_id)
    if kinds := list(kinds):
        found = found.filter(kind__in=kinds)
    return found


def activity_by_key(*, source_key: str) -> Activity | None:
    """Return what a room announced under its own key, such as "chaos:run_…"."""
    return Activity.objects.filter(source_key=source_key).first()


def activities_by_keys(*, source_keys: Iterable[str]) -> dict[str, Activity]:
    """Return what rooms announced under these keys, by key; without keys nothing is asked."""
    keys = set(source_keys)
    return {one.source_key: one for one in Activity.objects.filter(source_key__in=keys)} if keys else {}


def open_activities(
    *, service_ids: Iterable[int] | QuerySet[Any, Any], kinds: Iterable[ActivityKind]
) -> QuerySet[Activity]:
    """Return activities of these kinds that are going on for any of these services; they may be a query of keys."""
    keys = service_ids if isinstance(service_ids, QuerySet) else list(service_ids)
    return Activity.objects.filter(ended_at__isnull=True, services__in=keys, kind__in=list(kinds)).distinct()


def deployments_visible(*, viewer: Principal) -> QuerySet[Deployment]:
    """Return deployments of the services that the viewer may see."""
    return Deployment.objects.filter(service__in=services_visible(viewer=viewer)).select_related(
        "service", "environment"
    )


def open_action_items(*, owner: str = "") -> QuerySet[ActionItem]:
    """Return follow-ups that are open, the most urgent first."""
    found = ActionItem.objects.filter(state=ActionItemState.OPEN).select_related("service")
    return found.filter(owner=owner) if owner else found


def environments() -> QuerySet[Environment]:
    """Return every environment."""
    return Environment.objects.all()


def action_items_from(*, source: str) -> QuerySet[ActionItem]:
    """Return the follow-ups of one source in any state (`review:INC-3` for the keys `review:INC-3:…`), oldest first."""
    return ActionItem.objects.filter(source_key__startswith=f"{source}:").order_by("pk")


def action_items_visible(*, viewer: Principal) -> QuerySet[ActionItem]:
    """Return the follow-ups of what the viewer may see, and those without a service."""
    services = services_visible(viewer=viewer)
    found = ActionItem.objects.select_related("service")
    return found.filter(Q(service__isnull=True) | Q(service__in=services))


def teams_with_services(*, viewer: Principal) -> QuerySet[Any]:
    """Return all teams with their members and those of their services that the viewer may see."""
    services = services_visible(viewer=viewer).select_related(None).only("name", "slug", "team_id")
    return teams().prefetch_related(Prefetch("services", queryset=services))
