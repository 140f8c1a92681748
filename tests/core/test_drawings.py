from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.drawings import (
    Edge,
    Graph,
    Interval,
    Lane,
    Node,
    TimeAxis,
    draw_budget_bar,
    draw_graph,
    draw_sparkline,
    draw_time_axis,
)
from core.drawings.graph import layers_of
from core.drawings.icons import icon_names
from core.navigation import entries_for
from core.states import Tone

START = datetime(2026, 3, 1, tzinfo=UTC)
KEYS = st.sampled_from("abcdefgh")


def graph(*pairs: str) -> Graph:
    keys = sorted({key for pair in pairs for key in pair})
    return Graph("g", [Node(key, key) for key in keys], [Edge(pair[0], pair[1]) for pair in pairs])


def test_every_arrow_goes_to_a_later_layer() -> None:
    assert layers_of(graph("ab", "bc", "ac")) == [["a"], ["b"], ["c"]]


def test_a_cycle_is_drawn_with_one_arrow_backwards() -> None:
    assert layers_of(graph("ab", "ba")) == [["a"], ["b"]]
    assert str(draw_graph(graph("ab", "ba"))).count("graph-edge-back") == 1


@given(st.sets(st.tuples(KEYS, KEYS), max_size=20))
def test_any_graph_is_drawn_with_each_box_once(pairs: set[tuple[str, str]]) -> None:
    one = graph(*(a + b for a, b in pairs))
    assert sorted(key for layer in layers_of(one) for key in layer) == [node.key for node in one.nodes]
    ET.fromstring(draw_graph(one))


def test_names_cannot_carry_markup_into_a_drawing() -> None:
    drawn = draw_graph(Graph("g", [Node("a", '<b onload="x">', url="javascript:&")], []))
    assert "<b" not in drawn
    ET.fromstring(drawn)


def test_a_bar_of_an_unknown_budget_is_hatched_whole() -> None:
    drawn = draw_budget_bar(low=None, high=None, label="Not known")
    assert 'class="bar tone-unknown"' in drawn
    assert 'class="bar-solid" x="0" y="2" width="0"' in drawn


def test_a_gap_in_a_sparkline_is_no_zero() -> None:
    drawn = draw_sparkline([1.0, 2.0, None, 3.0, 4.0], label="x")
    assert drawn.count("<polyline") == 2


def test_intervals_that_overlap_are_stacked() -> None:
    lane = Lane("Incidents", [Interval("one", START, START + timedelta(hours=2)), Interval("two", START, None)])
    axis = TimeAxis("x", START - timedelta(hours=1), START + timedelta(hours=3), [lane], now=START)
    drawn = draw_time_axis(axis)
    tree = ET.fromstring(drawn)
    tops = {bar.get("y") for bar in tree.iter("rect") if "axis-bar" in (bar.get("class") or "")}
    assert len(tops) == 2


@given(
    st.lists(
        st.tuples(st.integers(-100, 300), st.none() | st.integers(0, 100)).map(
            lambda pair: Interval(
                "x",
                START + timedelta(minutes=pair[0]),
                None if pair[1] is None else START + timedelta(minutes=pair[0] + pair[1]),
                tone=Tone.BAD,
            )
        ),
        max_size=12,
    )
)
def test_no_bar_leaves_the_drawing(intervals: list[Interval]) -> None:
    axis = TimeAxis("x", START, START + timedelta(minutes=200), [Lane("a", intervals)])
    for bar in ET.fromstring(draw_time_axis(axis)).iter("rect"):
        if "axis-bar" in (bar.get("class") or ""):
            assert float(bar.get("x", "0")) >= 0
            assert float(bar.get("x", "0")) + float(bar.get("width", "0")) <= axis.width + 0.2


def test_the_menu_names_only_icons_of_the_sprite() -> None:
    class Anybody:
        def __getattr__(self, name: str) -> object:
            return lambda *args, **kwargs: True

    assert {entry.icon for entry in entries_for(Anybody())} <= icon_names()


@pytest.mark.parametrize("tone", list(Tone))
def test_every_tone_has_an_icon_of_the_sprite(tone: Tone) -> None:
    assert tone.icon in icon_names()
