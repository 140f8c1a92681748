"""Pages of what may be too many to count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property


@dataclass(frozen=True)
class Part:
    """A page of what is no list page, and the words that are searched for; `components/part_links.html` shows it."""

    page: Page[Any]
    text: str

    @property
    def records(self) -> list[Any]:
        """The records of this page."""
        return list(self.page.object_list)


def asked_text(request: HttpRequest) -> str:
    """Return the words that the address asks for."""
    return request.GET.get("q", "").replace("\x00", "").strip()[:200]


def part_of(request: HttpRequest, records: QuerySet[Any] | Sequence[Any], per_page: int) -> Part:
    """Return the page that the address asks for; `records` are already narrowed by `asked_text`."""
    return Part(BoundedPaginator(records, per_page, most=None).get_page(request.GET.get("page")), asked_text(request))


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts no further than `most`: what a million rows cost to count is not worth the exact number of them.

    Beyond that the list says *over* so many and ends; filters, search and sorting lead to the rest, CSV has all.
    """

    def __init__(
        self,
        records: QuerySet[Any] | Sequence[Any],
        per_page: int,
        *,
        most: int | None,
        rows: QuerySet[Any] | None = None,
    ) -> None:
        super().__init__(records, per_page)
        self._most = most
        self._rows = rows

    def page(self, number: int | str) -> Page[Any]:
        """Return a page; with `rows` its keys are found first, and what hangs on them is read from there alone.

        A search would else join everything to each of the thousands that it finds, to show fifty.
        """
        found = super().page(number)
        if self._rows is not None and isinstance(found.object_list, QuerySet):
            keys = list(found.object_list.values_list("pk", flat=True))
            by_key = self._rows.order_by().in_bulk(keys)
            found.object_list = [by_key[key] for key in keys if key in by_key]
        return found

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        if self._most is None or not isinstance(self.object_list, QuerySet):
            return super().count, False
        found = self.object_list.order_by()[: self._most + 1].count()
        return min(found, self._most), found > self._most

    @property
    def count(self) -> int:
        """How many there are, or the most that is counted."""
        return self._counted[0]

    @property
    def is_over(self) -> bool:
        """Say whether there are more than were counted."""
        return self._counted[1]
