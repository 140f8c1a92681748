"""Declarative list pages: columns, filters, search, sorting, paging, CSV, and the address that says it all.

A list page is a subclass of `RecordListView` that names its columns and filters. The number of queries is fixed: one
for the count, one for the page, and those of the filters' choices.
"""

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, QueryDict, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views import View

from core import formatting
from core.list_groups import Group, GroupedRecords, Grouping, Subtotal, grouped
from core.paging import BoundedPaginator
from core.replicas import ReadFrom, streamed_report
from core.saved_views import ALL, Offered, offered
from core.templatetags.assay import state as state_badge

Kind = Literal["text", "strong", "code", "number", "ratio", "time", "duration", "state"]
Records = QuerySet[Any] | Sequence[Any]
AT_ONCE, MOST_CHOICES = 500, 200
IRREGULAR = {"people": "person", "evidence": "evidence"}


@dataclass(frozen=True)
class Column:
    """One column.

    `value` gets the record and returns what CSV says and, written by `kind`, what the page says. `render` returns the
    markup of the cell instead (a SafeString from `format_html` or `render_to_string`). `order_by` are the orderings of
    a queryset when the column is clicked; for a plain sequence `sort_key` does it. `href` makes the cell a link.
    """

    key: str
    label: str
    value: Callable[[Any], Any]
    kind: Kind = "text"
    order_by: tuple[str, ...] = ()
    sort_key: Callable[[Any], Any] | None = None
    render: Callable[[Any], str | SafeString] | None = None
    href: Callable[[Any], str] | None = None
    shown: bool = True
    wide_only: bool = False

    @property
    def sortable(self) -> bool:
        """Say whether the heading sorts."""
        return bool(self.order_by) or self.sort_key is not None

    @property
    def css(self) -> str:
        """The classes of heading and cell."""
        classes = ["num"] if self.kind in {"number", "ratio", "duration"} else []
        classes += ["d-none d-lg-table-cell"] if self.wide_only else []
        return " ".join(classes)


@dataclass(frozen=True)
class Filter:
    """One filter: its choices as (value, label), and what keeps the records of a value.

    `apply` gets the records and the chosen values and returns those to keep. Without it, a queryset is filtered by
    `field__in` (the key where `field` is empty). `choices` may be a function of the request.
    """

    key: str
    label: str
    choices: Sequence[tuple[str, str]] | Callable[[HttpRequest], Sequence[tuple[str, str]]]
    field: str = ""
    apply: Callable[[Any, list[str]], Any] | None = None
    multiple: bool = True


@dataclass(frozen=True)
class Empty:
    """What a list says when there is nothing: a sentence, and the one next step."""

    sentence: str
    command: str = ""
    link_label: str = ""
    link_url: str = ""


@dataclass(frozen=True)
class Action:
    """The page's primary action, or a quieter one beside it."""

    label: str
    url: str
    icon: str = "plus"
    primary: bool = True


@dataclass(frozen=True)
class Choice:
    """A chip: the address that its click leads to."""

    label: str
    url: str
    active: bool


@dataclass(frozen=True)
class FilterGroup:
    """A filter as the page shows it."""

    label: str
    key: str
    choices: list[Choice]
    active_count: int = 0


@dataclass(frozen=True)
class Heading:
    """A column heading; `direction` is how the list is sorted by it now, `url` sorts by it."""

    column: Column
    url: str = ""
    direction: str = ""


@dataclass(frozen=True)
class Cell:
    """A written cell."""

    column: Column
    html: str | SafeString
    href: str = ""


@dataclass(frozen=True)
class Row:
    """A written row."""

    record: Any
    cells: list[Cell]
    tone: str = ""
    group: Group | None = None
    """The heading above this row, for the first row of a group on its page."""


@dataclass(frozen=True)
class State:
    """What the address asks for."""

    query: str
    sort: str
    page: int
    columns: tuple[str, ...]
    grouping: Grouping | None = None
    chosen: dict[str, list[str]] = field(default_factory=dict)

    @property
    def narrowed(self) -> bool:
        """Say whether a search or a filter hides records."""
        return bool(self.query or any(self.chosen.values()))


def singular(noun: str) -> str:
    """Return what one of these is called, for nouns as the lists name them ("policies", "status pages")."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    return re.sub(r"(?<=ss|ch)es$|s$", "", noun)


class RecordListView(GroupedRecords, LoginRequiredMixin, View):
    """A list page. Subclasses set the class attributes below and `get_records`; see `docs/reference/pages.md`."""

    title: ClassVar[str] = ""
    intro: ClassVar[str] = ""
    noun: ClassVar[str] = "records"
    columns: ClassVar[Sequence[Column]] = ()
    filters: ClassVar[Sequence[Filter]] = ()
    search_fields: ClassVar[Sequence[str]] = ()
    default_sort: ClassVar[str] = ""
    saves_views: ClassVar[bool] = False
    page_size: ClassVar[int] = 50
    counted_up_to: ClassVar[int | None] = None
    refresh_seconds: ClassVar[int] = 0
    stacked: ClassVar[bool] = False  # on a phone each record is a small block, its cells below one another
    empty: ClassVar[Empty] = Empty("There is nothing here yet.")
    template_name: ClassVar[str] = "components/record_list.html"
    partial_template_name: ClassVar[str] = "components/record_table.html"

    def may_view(self, principal: Any) -> bool:  # noqa: ARG002 subclasses use it
        """Say whether the reader may see the list at all; deny by returning False."""
        return True

    def get_records(self) -> Records:
        """Return everything that the reader may see: a queryset or a plain sequence."""
        raise NotImplementedError

    def get_filters(self) -> Sequence[Filter]:
        """Return the filters; override where they depend on the reader."""
        return self.filters

    def get_actions(self) -> Sequence[Action]:
        """Return what can be done from this list, at most one of them primary."""
        return ()

    def get_empty(self) -> Empty:
        """Return what to say when there are no records at all."""
        return self.empty

    def shown_as(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return what the rows of a page are written from, one for each record: what is reckoned only if shown."""
        return records

    def row_tone(self, record: Any) -> str:  # noqa: ARG002 subclasses use it
        """Return a tone for the edge of the row, or nothing."""
        return ""

    def extra_context(self) -> dict[str, Any]:
        """Return more for the template; `before_table` is markup above the table."""
        return {}

    def search(self, records: Any, text: str) -> Any:
        """Keep the records that match: every word in at least one of `search_fields`."""
        if not isinstance(records, QuerySet):
            words = text.lower().split()
            return [
                record
                for record in records
                if all(
                    any(word in formatting.plain_text(column.value(record)).lower() for column in self.columns)
                    for word in words
                )
            ]
        for word in text.split():
            condition = Q()
            for name in self.search_fields:
                condition |= Q(**{f"{name}__icontains": word})
            records = records.filter(condition)
        return records

    # The rest is the same for every list.

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not self.may_view(getattr(request, "principal", None)):
            raise PermissionDenied(f"Your roles do not open “{self.title}”.")
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # noqa: ARG002 Django's signature
        views = offered(request) if self.saves_views else None
        if views is not None and not request.GET and views.opens_first is not None:
            return HttpResponseRedirect(f"{request.path}{views.opens_first.address}")
        state = self._state(request.GET)
        groups, records = self._filtered(request, self.get_records(), state)
        whole = records if state.query and isinstance(records, QuerySet) else None
        if state.query:
            records = self.search(records, state.query)
        records = self._sorted(records, state.sort)
        headed: Mapping[str, Group] = {}
        if state.grouping is not None:
            records, headed = grouped(records, state.grouping, self.subtotals, self.figures)
        if request.GET.get("format") == "csv":
            return self._csv(records)
        paginator = BoundedPaginator(records, self.page_size, most=self.counted_up_to, rows=whole)
        page: Page[Any] = paginator.get_page(state.page)
        visible = [column for column in self.columns if column.key in state.columns]
        context: dict[str, Any] = {
            "view": self,
            "title": self.title,
            "intro": self.intro,
            "noun": self.noun,
            "counted": self.noun if page.paginator.count != 1 else singular(self.noun),
            "state": state,
            "groups": groups,
            "headings": [self._heading(request.GET, column, state) for column in visible],
            "rows": self._rows_of(page, visible, state.grouping, headed),
            "grouping": self._grouping_choices(request.GET, state),
            "views": views,
            "page": page,
            "page_links": self._page_links(request.GET, page),
            "column_choices": [(column, column.key in state.columns) for column in self.columns],
            "csv_url": _address(request.GET, format="csv", page=None),
            "here": request.get_full_path(),
            "list_url": request.path,
            "clear_url": self._clear_url(request, views),
            "kept": [(k, v) for k in request.GET for v in request.GET.getlist(k) if k not in {"q", "page"}],
            "kept_without_columns": [
                (k, v) for k in request.GET for v in request.GET.getlist(k) if k not in {"columns", "page"}
            ],
            "searchable": bool(self.search_fields) or not isinstance(records, QuerySet),
            "actions": self.get_actions(),
            "empty": self.get_empty(),
            "refresh_seconds": self.refresh_seconds,
            "stacked": self.stacked,
            **self.extra_context(),
        }
        htmx = getattr(request, "htmx", False)
        partial = (
            bool(htmx) and not getattr(htmx, "history_restore_request", False) and not getattr(htmx, "boosted", False)
        )
        response = TemplateResponse(request, self.partial_template_name if partial else self.template_name, context)
        patch_vary_headers(response, ["HX-Request"])
        return response

    def _state(self, query: QueryDict) -> State:
        keys = {column.key for column in self.columns}
        picked = tuple(key for key in query.getlist("columns") if key in keys)
        sort = query.get("sort", "") or self.default_sort
        if sort.lstrip("-") not in {column.key for column in self.columns if column.sortable}:
            sort = self.default_sort
        page = query.get("page", "1")
        return State(
            query=query.get("q", "").replace("\x00", "").strip()[:200],
            sort=sort,
            page=int(page) if page.isdecimal() and len(page) < 9 else 1,
            columns=picked or tuple(column.key for column in self.columns if column.shown),
            grouping=next((one for one in self.groupings if one.key == query.get("group")), None),
            chosen={one.key: [v for v in query.getlist(one.key) if v] for one in self.get_filters()},
        )

    def _filtered(self, request: HttpRequest, records: Any, state: State) -> tuple[list[FilterGroup], Any]:
        groups = []
        for one in self.get_filters():
            choices = one.choices(request) if callable(one.choices) else one.choices
            allowed = {value for value, _ in choices}
            chosen = state.chosen[one.key] = [value for value in state.chosen[one.key] if value in allowed]
            # Of too many to choose from, the page shows those that are chosen; the search leads to the others.
            shown = choices if len(choices) <= MOST_CHOICES else [each for each in choices if each[0] in chosen]
            if chosen and one.apply is not None:
                records = one.apply(records, chosen)
            elif chosen:
                records = records.filter(**{f"{one.field or one.key}__in": chosen})
            groups.append(
                FilterGroup(
                    label=one.label,
                    key=one.key,
                    choices=[
                        Choice(
                            label=label,
                            url=_address(
                                request.GET, page=None, **{one.key: _toggled(chosen, value, multiple=one.multiple)}
                            ),
                            active=value in chosen,
                        )
                        for value, label in shown
                    ],
                    active_count=len(chosen),
                )
            )
        return groups, records

    def _sorted(self, records: Any, sort: str) -> Any:
        column = next((column for column in self.columns if column.key == sort.lstrip("-")), None)
        if column is None:
            return records
        backwards = sort.startswith("-")
        if isinstance(records, QuerySet):
            if not column.order_by:
                return records
            turned = [_turned(name) if backwards else name for name in column.order_by]
            return records.order_by(*turned, "pk")
        key = column.sort_key or column.value
        return sorted(records, key=lambda record: _comparable(key(record)), reverse=backwards)

    def _heading(self, query: QueryDict, column: Column, state: State) -> Heading:
        if not column.sortable:
            return Heading(column)
        direction = {column.key: "ascending", f"-{column.key}": "descending"}.get(state.sort, "")
        wanted = f"-{column.key}" if direction == "ascending" else column.key
        return Heading(column, url=_address(query, sort=wanted, page=None), direction=direction)

    def _rows_of(
        self, page: Page[Any], visible: list[Column], grouping: Grouping | None, headed: Mapping[str, Group]
    ) -> list[Row]:
        now, rows, above = timezone.now(), [], None
        for record in self.shown_as(list(page.object_list)):
            group = headed[grouping.of(record)] if grouping is not None else None
            cells = [self._cell(column, record, now) for column in visible]
            rows.append(Row(record, cells, self.row_tone(record), group if group is not above else None))
            above = group
        return rows

    def _grouping_choices(self, query: QueryDict, state: State) -> list[Choice]:
        if not self.groupings:
            return []
        return [
            Choice("Nothing", _address(query, group=None, page=None), state.grouping is None),
            *(
                Choice(one.label, _address(query, group=one.key, page=None), one is state.grouping)
                for one in self.groupings
            ),
        ]

    def _clear_url(self, request: HttpRequest, views: Offered | None) -> str:
        """Return the address of the whole list: the plain one, unless that opens with a view."""
        return f"{request.path}?view={ALL}" if views is not None and views.opens_first else request.path

    def _cell(self, column: Column, record: Any, now: datetime) -> Cell:
        html = column.render(record) if column.render else written_cell(column.value(record), column.kind, now=now)
        return Cell(column, html, column.href(record) if column.href else "")

    def _page_links(self, query: QueryDict, page: Page[Any]) -> dict[str, str]:
        links = {}
        if page.has_previous():
            links["previous"] = _address(query, page=str(page.previous_page_number()))
        if page.has_next():
            links["next"] = _address(query, page=str(page.next_page_number()))
        return links

    def _csv(self, records: Any) -> HttpResponseBase:
        writer = csv.writer(_Echo())

        def lines(_: ReadFrom) -> Iterator[str]:
            left = iter(records.iterator(chunk_size=AT_ONCE) if isinstance(records, QuerySet) else records)
            some = list(itertools.islice(left, AT_ONCE))
            yield writer.writerow([column.label for column in self.columns])
            while some:
                for record in self.shown_as(some):
                    yield writer.writerow([csv_text(column.value(record)) for column in self.columns])
                some = list(itertools.islice(left, AT_ONCE))

        response = StreamingHttpResponse(streamed_report(lines), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{self.noun.replace(" ", "-")}.csv"'
        return response


class _Echo:
    """A file that hands back what is written, so that a row streams out at once."""

    def write(self, text: str) -> str:
        return text


def written_cell(value: Any, kind: Kind, *, now: datetime) -> str | SafeString:
    """Return a value as the cell says it."""
    return _WRITERS[kind](value, now)


def _text(value: Any, _now: datetime) -> str:
    return formatting.MISSING if value is None or value == "" else str(value)


_WRITERS: dict[Kind, Callable[[Any, datetime], str | SafeString]] = {
    "text": _text,
    "strong": lambda value, now: format_html("<strong>{}</strong>", _text(value, now)),
    "code": lambda value, now: format_html("<code>{}</code>", _text(value, now)),
    "number": lambda value, _: formatting.written_number(value),
    "ratio": lambda value, _: formatting.written_ratio(value),
    "duration": lambda value, _: formatting.written_duration(value),
    "time": lambda value, now: formatting.time_element(value, now=now),
    "state": lambda value, _: state_badge(value),
}


def csv_text(value: Any) -> str:
    """Return a value for a file that a spreadsheet may open: text that it would run as a formula is quoted."""
    text = formatting.plain_text(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _toggled(chosen: list[str], value: str, *, multiple: bool) -> list[str]:
    if value in chosen:
        return [one for one in chosen if one != value]
    return [*chosen, value] if multiple else [value]


def _turned(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _comparable(value: Any) -> tuple[bool, Any]:
    """Put missing values last when ascending."""
    return (value is None, "" if value is None else value)


def _address(query: QueryDict, **changes: str | list[str] | None) -> str:
    kept = [(key, value) for key in query for value in query.getlist(key) if key not in changes and key != "format"]
    for key, value in changes.items():
        values = [value] if isinstance(value, str) else value or []
        kept += [(key, one) for one in values]
    return f"?{urlencode(kept)}"


__all__ = ["Action", "Column", "Empty", "Filter", "Grouping", "RecordListView", "Subtotal", "csv_text"]
