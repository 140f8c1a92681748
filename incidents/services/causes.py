"""What runs on a service and has declared itself is the likely cause of what happens to it."""

from collections.abc import Collection, Sequence

from catalog.data import ActivityKind
from catalog.selectors import activities_by_keys, open_activities

CAUSES = (ActivityKind.CHAOS_RUN, ActivityKind.DR_TEST)


def declared_causes(service_ids: Sequence[Sequence[int]]) -> list[str]:
    """Return for each group of services the key of what has declared itself on one of them, else nothing."""
    wanted = sorted({one for group in service_ids for one in group})
    if not wanted:
        return [""] * len(service_ids)
    running = [
        (activity.source_key, {service.pk for service in activity.services.all()})
        for activity in open_activities(service_ids=wanted, kinds=CAUSES).prefetch_related("services")
    ]
    return [next((key for key, services in running if not services.isdisjoint(group)), "") for group in service_ids]


def causes_in_words(keys: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return for each key what it is called and where it leads; what nobody announced is left out."""
    return {
        key: (f"{found.get_kind_display()} “{found.title}”", found.url)
        for key, found in activities_by_keys(source_keys=keys).items()
    }
