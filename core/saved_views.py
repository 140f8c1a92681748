"""What lists know of saved views: a named address of a list. A room further up keeps them and says so here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.http import HttpRequest, QueryDict

NOT_KEPT = frozenset({"page", "format", "view", "csrfmiddlewaretoken"})
LONGEST_QUERY = 2000
ALL = "all"


@dataclass(frozen=True)
class ListedView:
    """A view as a list offers it. `team` is empty for a private one; `mine` says whether the reader made it."""

    pk: int
    name: str
    query: str
    mine: bool
    team: str = ""
    owner: str = ""
    opens_first: bool = False

    @property
    def address(self) -> str:
        """The query string that opens the view."""
        return f"?view={self.pk}&{self.query}" if self.query else f"?view={self.pk}"


@dataclass(frozen=True)
class Offer:
    """What a person may open on a list, and the teams (primary key, name) with which a view can be shared."""

    views: Sequence[ListedView] = ()
    teams: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Offered:
    """The views of a list with the one that is open; `changed` says that the list shows something else by now."""

    page: str
    offer: Offer
    query: str
    open: ListedView | None = None

    @property
    def changed(self) -> bool:
        """Say whether filters, sorting, grouping or columns differ from the open view's."""
        return self.open is not None and self.open.query != self.query

    @property
    def opens_first(self) -> ListedView | None:
        """The view that the reader's list opens with."""
        return next((one for one in self.offer.views if one.opens_first), None)


_shelves: list[Callable[[HttpRequest, str], Offer]] = []


def keep_views(shelf: Callable[[HttpRequest, str], Offer]) -> None:
    """Register what answers which views a request's person has for the page of this URL name."""
    _shelves.append(shelf)


def kept_query(query: QueryDict) -> str:
    """Return what a view keeps of an address: all but the page, in a fixed order."""
    kept = QueryDict(mutable=True)
    for key in sorted(set(query) - NOT_KEPT):
        kept.setlist(key, [value for value in query.getlist(key) if value])
    return kept.urlencode()


def offered(request: HttpRequest) -> Offered | None:
    """Return the views for the request's list and the one that its address names; None where nobody keeps any."""
    match = request.resolver_match
    if not _shelves or match is None or match.kwargs:
        return None
    offer = _shelves[-1](request, match.view_name)
    named = request.GET.get("view", "")
    opened = next((one for one in offer.views if str(one.pk) == named), None)
    return Offered(match.view_name, offer, kept_query(request.GET), opened)
