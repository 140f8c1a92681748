from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from django.utils import timezone

from core.events import Event
from core.lists import Column, Empty, Filter, Grouping, RecordListView, Subtotal, csv_text, singular


@dataclass(frozen=True)
class Thing:
    name: str
    kind: str
    size: int | None


THINGS = [Thing(f"thing {n:02}", "even" if n % 2 == 0 else "odd", n) for n in range(1, 8)]


class ThingListView(RecordListView):
    title = "Things"
    noun = "things"
    page_size = 3
    columns = (
        Column("name", "Name", lambda t: t.name, sort_key=lambda t: t.name, href=lambda t: f"/things/{t.size}/"),
        Column("size", "Size", lambda t: t.size, kind="number", sort_key=lambda t: t.size),
        Column("kind", "Kind", lambda t: t.kind, shown=False),
    )
    filters = (
        Filter(
            "kind",
            "Kind",
            [("even", "Even"), ("odd", "Odd")],
            apply=lambda things, chosen: [t for t in things if t.kind in chosen],
        ),
    )
    default_sort = "name"
    empty = Empty("No thing yet.", command="make thing")
    things: list[Thing] = THINGS

    def get_records(self) -> list[Thing]:
        return self.things


def ask(view: type[RecordListView], address: str = "/things/", *, htmx: bool = False) -> Any:
    request = RequestFactory().get(address)
    request.user = SimpleNamespace(is_authenticated=True)  # type: ignore[assignment]
    request.principal = SimpleNamespace()  # type: ignore[attr-defined]
    request.htmx = htmx  # type: ignore[attr-defined]
    return view.as_view()(request)


def names(address: str) -> list[str]:
    return [row.record.name for row in ask(ThingListView, address).context_data["rows"]]


def test_it_pages_in_the_default_order() -> None:
    assert names("/things/") == ["thing 01", "thing 02", "thing 03"]
    assert names("/things/?page=3") == ["thing 07"]


def test_a_page_that_does_not_exist_is_the_nearest_one() -> None:
    assert names("/things/?page=99") == ["thing 07"]
    assert names("/things/?page=x") == ["thing 01", "thing 02", "thing 03"]


def test_it_sorts_both_ways_and_ignores_what_cannot_be_sorted() -> None:
    assert names("/things/?sort=-size")[0] == "thing 07"
    assert names("/things/?sort=kind")[0] == "thing 01"


def test_a_filter_and_a_search_are_in_the_address() -> None:
    assert names("/things/?kind=even") == ["thing 02", "thing 04", "thing 06"]
    assert names("/things/?kind=even&q=04") == ["thing 04"]


def test_a_value_that_is_no_choice_filters_nothing() -> None:
    assert len(names("/things/?kind=' or 1=1")) == 3


def test_a_chip_adds_and_takes_away_its_value_and_keeps_the_rest() -> None:
    group = ask(ThingListView, "/things/?kind=even&sort=-size&page=2").context_data["groups"][0]
    even, odd = group.choices
    assert even.active
    assert even.url == "?sort=-size"
    assert odd.url == "?sort=-size&kind=even&kind=odd"


def test_columns_can_be_chosen() -> None:
    headings = ask(ThingListView, "/things/?columns=kind&columns=name").context_data["headings"]
    assert [heading.column.key for heading in headings] == ["name", "kind"]


def test_csv_has_every_column_and_every_page_of_what_is_filtered() -> None:
    answer = ask(ThingListView, "/things/?format=csv&kind=odd")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert lines == ["Name,Size,Kind", *(f"thing {n:02},{n},odd" for n in (1, 3, 5, 7))]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_csv_never_hands_a_formula_to_a_spreadsheet(text: str) -> None:
    assert csv_text(text) == f"'{text}"


def test_csv_leaves_negative_numbers_alone() -> None:
    assert csv_text(-4) == "-4"


def test_an_empty_list_says_the_next_step() -> None:
    class NoThings(ThingListView):
        things = []

    body = ask(NoThings, htmx=True).render().content.decode()
    assert "No thing yet." in body
    assert "make thing" in body
    assert "<table" not in body


def test_nothing_found_is_not_the_same_as_nothing_there() -> None:
    body = ask(ThingListView, "/things/?q=zebra", htmx=True).render().content.decode()
    assert "Nothing matches" in body
    assert "No thing yet." not in body


def test_markup_in_a_record_is_shown_as_text() -> None:
    class Hostile(ThingListView):
        things = [Thing("<script>alert(1)</script>", "odd", 1)]

    body = ask(Hostile, htmx=True).render().content.decode()
    assert "<script>" not in body
    assert "&lt;script&gt;" in body


def test_missing_values_sort_last() -> None:
    class Gaps(ThingListView):
        things = [Thing("none", "odd", None), Thing("two", "even", 2), Thing("one", "odd", 1)]

    rows = ask(Gaps, "/things/?sort=size").context_data["rows"]
    assert [row.record.name for row in rows] == ["one", "two", "none"]


def test_it_refuses_a_reader_without_the_right() -> None:
    class Closed(ThingListView):
        def may_view(self, principal: Any) -> bool:
            return False

    with pytest.raises(PermissionDenied, match="Things"):
        ask(Closed)


def test_a_stranger_is_led_to_the_sign_in() -> None:
    request = RequestFactory().get("/things/")
    request.user = SimpleNamespace(is_authenticated=False)  # type: ignore[assignment]
    answer = ThingListView.as_view()(request)
    assert answer.status_code == 302
    assert "/sign-in/" in answer["Location"]


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("runbooks", "runbook"),
        ("policies", "policy"),
        ("weaknesses", "weakness"),
        ("outside watches", "outside watch"),
        ("status pages", "status page"),
        ("people", "person"),
        ("evidence", "evidence"),
    ],
)
def test_one_of_many_is_named_as_one(many: str, one: str) -> None:
    assert singular(many) == one


class GroupedListView(ThingListView):
    groupings = (Grouping("kind", "Kind", lambda t: t.kind),)
    page_size = 5

    def subtotals(self, records: Sequence[Any]) -> list[Subtotal]:
        return [Subtotal(f"biggest {max(one.size for one in records)}")]


def test_groups_stand_in_the_order_of_their_first_records_with_subtotals_of_all_their_pages() -> None:
    rows = ask(GroupedListView, "/things/?group=kind&sort=-size").context_data["rows"]
    assert [row.record.size for row in rows] == [7, 5, 3, 1, 6]
    headings = [(at, row.group) for at, row in enumerate(rows) if row.group]
    assert [(at, group.name, group.count) for at, group in headings] == [(0, "odd", 4), (4, "even", 3)]
    assert [group.subtotals[0].text for _, group in headings] == ["biggest 7", "biggest 6"]
    second = ask(GroupedListView, "/things/?group=kind&sort=-size&page=2").context_data["rows"]
    assert [(row.record.size, row.group and row.group.name) for row in second] == [(4, "even"), (2, None)]


def test_an_unknown_grouping_groups_nothing() -> None:
    assert not any(row.group for row in ask(GroupedListView, "/things/?group=size").context_data["rows"])


@pytest.mark.django_db
def test_a_very_long_list_is_counted_no_further_than_it_says() -> None:
    Event.objects.bulk_create(
        [Event(kind=f"kind-{number}", payload={}, published_at=timezone.now()) for number in range(8)]
    )

    class EventListView(RecordListView):
        noun = "events"
        page_size = 2
        counted_up_to = 5
        columns = (Column("kind", "Kind", lambda e: e.kind, order_by=("kind",)),)

        def get_records(self) -> Any:
            return Event.objects.all()

    answer = ask(EventListView, "/things/?page=3", htmx=True).render().content.decode()
    assert "over 5 events" in answer
    assert "5 to 5 of over 5" in answer
    assert "found by filters" in answer
    EventListView.counted_up_to = 8
    assert "over 5" not in ask(EventListView, htmx=True).render().content.decode()
    assert ask(EventListView).context_data["page"].paginator.count == 8


@pytest.mark.django_db
def test_what_a_search_finds_is_read_for_its_page_alone() -> None:
    Event.objects.bulk_create(
        [Event(kind=f"kind-{number % 3}-{number}", payload={}, published_at=timezone.now()) for number in range(12)]
    )

    class EventListView(RecordListView):
        noun = "events"
        page_size = 2
        search_fields = ("kind",)
        columns = (Column("kind", "Kind", lambda e: e.kind, order_by=("kind",)),)
        default_sort = "-kind"

        def get_records(self) -> Any:
            return Event.objects.exclude(kind="kind-1-10").select_related()

    rows = ask(EventListView, "/things/?q=kind-1&page=2").context_data["rows"]
    assert [row.record.kind for row in rows] == ["kind-1-1"]
    first = ask(EventListView, "/things/?q=kind-1").context_data
    assert [row.record.kind for row in first["rows"]] == ["kind-1-7", "kind-1-4"]
    assert first["page"].paginator.count == 3
    assert ask(EventListView, "/things/?q=nothing").context_data["rows"] == []
