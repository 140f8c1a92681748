"""What status pages show: only what people have said on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet

from accounts.data import Capability, Principal
from incidents.data import PublicState
from incidents.models import StatusPage, StatusUpdate

SHOWN_BACK = timedelta(days=30)
MOST_UPDATES = 500


@dataclass(frozen=True)
class PublishedIncident:
    """An incident as a page tells it: its updates, latest first."""

    title: str
    state: PublicState
    updates: Sequence[StatusUpdate]
    services: tuple[str, ...]
    began_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether the page has said that it is over."""
        return self.state is PublicState.RESOLVED


@dataclass(frozen=True)
class Board:
    """A page: each service with whether something is said to be wrong with it, and what was told lately."""

    services: list[tuple[str, str]]
    current: list[PublishedIncident]
    past: list[PublishedIncident]


def status_pages(*, viewer: Principal) -> QuerySet[StatusPage]:
    """Return the pages on which the viewer could say something."""
    found = StatusPage.objects.select_related("team")
    return found if viewer.may_somewhere(Capability.OPERATIONS_VIEW) else found.none()


def status_page(*, slug: str, viewer: Principal | None) -> StatusPage | None:
    """Return a page that the reader may see; None for a viewer stands for somebody who has not signed in."""
    page = StatusPage.objects.filter(slug=slug).first()
    if page is None or page.visibility == StatusPage.Visibility.PUBLIC:
        return page
    return page if viewer is not None and viewer.may_somewhere(Capability.OPERATIONS_VIEW) else None


def board_of(*, page: StatusPage, now: datetime) -> Board:
    """Return what a page shows now."""
    rows = StatusUpdate.objects.filter(page=page, at__gt=now - SHOWN_BACK)
    grouped: dict[int, list[StatusUpdate]] = {}
    recent = rows.select_related("incident").prefetch_related("incident__services")
    for update in recent[:MOST_UPDATES]:
        grouped.setdefault(update.incident_id, []).append(update)
    shown = list(page.services.all())
    on_page = {one.pk for one in shown}
    told = [
        PublishedIncident(
            title=updates[0].title,
            state=PublicState(updates[0].state),
            updates=updates,
            services=tuple(one.name for one in updates[0].incident.services.all() if one.pk in on_page),
            began_at=updates[-1].at,
        )
        for updates in grouped.values()
    ]
    current = [one for one in told if not one.is_over]
    troubled = {name for one in current for name in one.services}
    states = [(one.name, "degraded" if one.name in troubled else "operational") for one in shown]
    return Board(states, current, [one for one in told if one.is_over])
