"""What people keep of the pages: views of lists. Nobody else's work depends on them, so no entry is recorded."""

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import QueryDict

from accounts.data import Principal
from core.saved_views import LONGEST_QUERY, kept_query
from portal.models import OpeningView, SavedView
from portal.selectors import saved_views_for, teams_to_share_with

MOST_VIEWS = 100


@transaction.atomic
def save_view(
    *, principal: Principal, page: str, name: str, query: str, team_id: int | None = None, opens_first: bool = False
) -> SavedView:
    """Keep an address of a list under a name, for oneself or for a team too.

    Raises ValidationError for a name that is taken or empty, PermissionDenied for a team that is not one's own.
    """
    if principal.user_id is None:
        raise PermissionDenied("A view belongs to a person; sign in as one.")
    if SavedView.objects.filter(owner=principal.user_id).count() >= MOST_VIEWS:
        raise ValidationError(f"You have {MOST_VIEWS} views; delete one first.")
    view = SavedView(owner_id=principal.user_id, page=page, name=name.strip(), query=_kept(query))
    _share(principal, view, team_id)
    view.full_clean(exclude=["team"])
    view.save()
    if opens_first:
        open_list_with(principal=principal, page=page, view=view)
    return view


@transaction.atomic
def change_view(*, principal: Principal, view: SavedView, name: str, team_id: int | None) -> None:
    """Rename a view, and share it with a team or with nobody. Raises as `save_view` does."""
    _ensure_owner(principal, view)
    view.name = name.strip()
    _share(principal, view, team_id)
    view.full_clean(exclude=["team"])
    view.save(update_fields=["name", "team", "updated_at"])


def change_view_query(*, principal: Principal, view: SavedView, query: str) -> None:
    """Let a view show what its owner's list shows by now."""
    _ensure_owner(principal, view)
    view.query = _kept(query)
    view.save(update_fields=["query", "updated_at"])


def delete_view(*, principal: Principal, view: SavedView) -> None:
    """Delete a view; lists that opened with it open whole again."""
    _ensure_owner(principal, view)
    view.delete()


def open_list_with(*, principal: Principal, page: str, view: SavedView | None) -> None:
    """Let the person's list open with a view that they may see, or whole with None."""
    if principal.user_id is None or (view and not saved_views_for(viewer=principal).filter(pk=view.pk).exists()):
        raise PermissionDenied("A list opens with a view of one's own or of one's team.")
    if view is None:
        OpeningView.objects.filter(user=principal.user_id, page=page).delete()
    else:
        OpeningView.objects.update_or_create(user_id=principal.user_id, page=view.page, defaults={"view": view})


def _share(principal: Principal, view: SavedView, team_id: int | None) -> None:
    if team_id is not None and not teams_to_share_with(viewer=principal).filter(pk=team_id).exists():
        raise PermissionDenied("A view is shared with a team of one's own.")
    view.team_id = team_id


def _kept(query: str) -> str:
    kept = kept_query(QueryDict(query.lstrip("?")[: 2 * LONGEST_QUERY]))
    if len(kept) > LONGEST_QUERY:
        raise ValidationError(f"This address is longer than the {LONGEST_QUERY} characters that a view keeps.")
    return kept


def _ensure_owner(principal: Principal, view: SavedView) -> None:
    if principal.user_id is None or view.owner_id != principal.user_id:
        raise PermissionDenied("Only who made a view may change or delete it.")
