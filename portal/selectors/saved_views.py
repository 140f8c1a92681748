"""The views that a person may open."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.data import Principal
from accounts.selectors import teams
from core.saved_views import ListedView, Offer
from portal.models import OpeningView, SavedView


def teams_to_share_with(*, viewer: Principal) -> QuerySet[Any]:
    """Return the teams that the viewer is a member of or holds a role for."""
    found = teams().prefetch_related(None)
    return found.filter(Q(members=viewer.user_id) | Q(grants__user=viewer.user_id)).distinct()


def saved_views_for(*, viewer: Principal) -> QuerySet[SavedView]:
    """Return the viewer's own views and those shared with their teams, each with `opens_first`."""
    opening = OpeningView.objects.filter(view=OuterRef("pk"), user=viewer.user_id)
    shared = Q(team__in=teams_to_share_with(viewer=viewer).order_by().values("pk"))
    return (
        SavedView.objects.filter(Q(owner=viewer.user_id) | shared)
        .select_related("owner", "team")
        .annotate(opens_first=Exists(opening))
    )


def views_offered(*, viewer: Principal, page: str) -> Offer:
    """Return what the list of a page offers to the viewer: their own views first."""
    if viewer.user_id is None:
        return Offer()
    rows = saved_views_for(viewer=viewer).filter(page=page)
    return Offer(
        sorted((_offered(row, viewer) for row in rows), key=lambda one: (not one.mine, one.name.lower())),
        list(teams_to_share_with(viewer=viewer).values_list("pk", "name")),
    )


def _offered(row: SavedView, viewer: Principal) -> ListedView:
    return ListedView(
        pk=row.pk,
        name=row.name,
        query=row.query,
        mine=row.owner_id == viewer.user_id,
        team=row.team.name if row.team else "",
        owner=str(row.owner),
        opens_first=bool(row.opens_first),  # type: ignore[attr-defined] # annotated above
    )
