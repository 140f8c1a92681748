"""What scraped counters prove: worlds of events, scraped and read in pieces, against what was made to happen."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliability.domain.budgets import Counts
from reliability.domain.counting import Found, Scraped, Scrapes, Span, count_counters, count_readings
from reliability.domain.scrapes import Tail, usual_interval

STEP = 15.0
OVERLAP = 150.0
FIRST = 300.0


@dataclass
class Series:
    """A counter's samples (time, value, when the store shows it), and what they prove."""

    labels: dict[str, str]
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    known: int = 0
    unknown: int = 0
    happened: int = 0


@dataclass
class World:
    """Targets that are scraped, and the counters that they expose."""

    ups: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    end: float = 0.0
    gaps: bool = False


EVENT = st.tuples(
    st.integers(0, 9),  # events of the good counter since the scrape before
    st.sampled_from([0, 0, 0, 1, 5]),  # of the bad one
    st.sampled_from(["", "", "", "", "", "reset", "missed", "missed", "pause"]),
    st.sampled_from([0.0, 0.0, 40.0, 100.0]),  # how much later the store shows it
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Make a world of one to three targets that begin at some time and go through births, resets, gaps and delays."""
    world = World()
    for number in range(draw(st.integers(1, 3))):
        time = draw(st.integers(0, 20)) * STEP + number
        counters = dict.fromkeys(("200", "500"), 0)
        series: dict[str, Series] = {}
        scraped: list[float] = []
        shown = 0.0
        for good, bad, what, late in draw(st.lists(EVENT, min_size=1, max_size=30)):
            time += 200.0 if what == "pause" else STEP
            world.gaps = world.gaps or what in {"missed", "pause"}
            if what == "reset":
                counters = dict.fromkeys(counters, 0)
            happened = {"200": good, "500": bad}
            for code, more in happened.items():
                counters[code] += more
            for code, one in series.items():
                one.happened += happened[code]
            if what == "missed":
                continue
            # The samples of a target come in order, all of them late or none.
            shown = max(shown, time + late)
            for code, value in counters.items():
                one = series.get(code) or Series(
                    {"__name__": "n", "job": "j", "instance": f"i{number}", "code": code}, happened=value
                )
                if code not in series and not value:
                    continue
                if code not in series:
                    born = bool(scraped) and time - scraped[-1] <= 1.5 * STEP
                    one.known, one.unknown = (value, 0) if born else (0, value)
                    series[code] = one
                else:
                    before = one.samples[-1][1]
                    one.known += int(value - before if value >= before else value)
                one.samples.append((time, float(value), shown))
            scraped.append(time)
            world.ups.setdefault(f"i{number}", []).append((time, shown))
        world.series += series.values()
        world.end = max(world.end, shown)
    return world


def read(world: World, begin: float, until: float, *, first: bool, tails: object) -> Found:
    """Read what the store shows at `until`, as a collector does."""
    low = begin - (FIRST if first else OVERLAP)
    span = Span(low, begin, until, first)
    ups = [
        Scraped({"__name__": "up", "job": "j", "instance": name}, [[t, "1"] for t, s in all_ if low < t and s <= until])
        for name, all_ in world.ups.items()
    ]
    found = []
    for one in world.series:
        samples = [[t, f"{v:g}"] for t, v, shown in one.samples if low < t <= until and shown <= until]
        if samples:
            found.append(Scraped(one.labels, samples))
    everything = [*found]
    part = [one for one in found if one.labels["code"] == "500"]
    scrapes = Scrapes(ups, everything, span)
    return count_counters(found, part, tails=tails, scrapes=scrapes, span=span, part_is_bad=True)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.lists(st.integers(1, 20), max_size=40))
def test_reads_in_any_cut_add_up_to_what_the_counters_prove(world: World, cuts: list[int]) -> None:
    begin, first, tails = -1.0, True, dict[bytes, Tail]()
    total = Counts()
    by_minute: dict[int, Counts] = {}
    stops = [begin + 5.0]
    for cut in cuts:
        stops.append(stops[-1] + cut * 5.0)
    while stops[-1] < world.end:
        stops.append(stops[-1] + 45.0)
    for until in stops:
        found = read(world, begin, until, first=first, tails=tails)
        tails, first, begin = found.tails, False, until
        for minute, counts in found.counts.get((), {}).items():
            total += counts
            by_minute[minute] = by_minute.get(minute, Counts()) + counts
    good = sum(one.known for one in world.series if one.labels["code"] == "200")
    bad = sum(one.known for one in world.series if one.labels["code"] == "500")
    unknown = sum(one.unknown for one in world.series)
    assert total.total == good + bad + unknown
    if not world.gaps:
        assert (total.good, total.bad, total.unknown) == (good, bad, unknown)
    # Where scrapes are missing, how often a target is scraped is a guess, and a birth is known or unknown by it.
    assert total.bad >= bad
    assert total.bad <= sum(one.happened for one in world.series if one.labels["code"] == "500")
    minutes = sorted(by_minute)
    edge = minutes[len(minutes) // 2] if minutes else 0
    parts = [sum((by_minute[m] for m in some), Counts()) for some in (minutes[: bisect_left(minutes, edge)], minutes)]
    rest = sum((by_minute[m] for m in minutes if m >= edge), Counts())
    assert parts[0] + rest == parts[1]


def scraped(*samples: tuple[float, str], instance: str = "a") -> Scraped:
    return Scraped({"__name__": "n", "job": "j", "instance": instance}, [list(one) for one in samples])


def counted(series: list[Scraped], ups: list[Scraped], *, tails: object = None, first: bool = True) -> Found:
    span = Span(-1000.0, 0.0, 1000.0, first)
    scrapes = Scrapes(ups, series, span)
    return count_counters(series, [], tails=tails or {}, scrapes=scrapes, span=span, part_is_bad=True)  # type: ignore[arg-type]


def totals(found: Found) -> tuple[int, int]:
    counts = sum(found.counts.get((), {}).values(), Counts())
    return counts.good, counts.unknown


def up(*times: float) -> Scraped:
    return Scraped({"__name__": "up", "job": "j", "instance": "a"}, [[time, "1"] for time in times])


def test_a_series_that_is_born_under_a_scraped_target_counts_in_full() -> None:
    assert totals(counted([scraped((30, "3"), (45, "4"))], [up(0, 15, 30, 45)])) == (4, 0)


def test_a_series_of_a_new_target_leaves_its_first_value_unknown() -> None:
    assert totals(counted([scraped((30, "300"), (45, "301"))], [up(30, 45)])) == (1, 300)


def test_not_a_number_and_negative_values_count_nothing_and_are_told() -> None:
    found = counted([scraped((-5, "10"), (15, "NaN"), (30, "-5"), (45, "12"))], [])
    assert totals(found) == (2, 0)
    assert found.oddities.odd_values == 2


def test_samples_of_one_instant_count_once() -> None:
    assert totals(counted([scraped((-5, "10"), (15, "12"), (15, "12"), (30, "13"))], [])) == (3, 0)


def test_the_usual_interval_is_the_median() -> None:
    assert usual_interval([0, 15, 30, 90]) == 15
    assert usual_interval([]) == 60


@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.sampled_from([0.0, 0.0, 60.0])), max_size=30), st.data()
)
def test_each_reading_of_a_gauge_counts_once_however_late_it_comes(
    steps: list[tuple[int, bool, float]], data: st.DataObject
) -> None:
    time, shown, samples = 0.0, 0.0, []
    for length, good, late in steps:
        time += length
        shown = max(shown, time + late)
        samples.append((time, "1" if good else "9", shown))
    begin, first, tails, total = -1.0, True, dict[bytes, Tail](), Counts()
    while begin < shown:
        until = begin + data.draw(st.integers(5, 100))
        low = begin - (FIRST if first else OVERLAP)
        visible = [[t, v] for t, v, s in samples if low < t <= until and s <= until]
        series = [Scraped({"__name__": "g", "instance": "a"}, visible)] if visible else []
        found = count_readings(series, op="lte", threshold=5.0, span=Span(low, begin, until, first), tails=tails)
        begin, first, tails = until, False, found.tails
        total += sum(found.counts.get((), {}).values(), Counts())
    assert (total.good, total.bad) == (sum(good for _, good, _ in steps), sum(not good for _, good, _ in steps))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_replicas_of_one_counter_that_come_and_go_add_up_to_what_it_counted(data: st.DataObject) -> None:
    """Two scrapers see one counter at instants of their own, each a moment after the time that it writes down."""
    value, history = 0, [(0.0, 0)]
    for number in range(1, 400):
        value += data.draw(st.sampled_from([0, 0, 0, 0, 3])) if number % 7 == 0 else number % 3 == 0
        history.append((float(number), value))

    def at(instant: float) -> int:
        return history[min(int(instant), len(history) - 1)][1]

    late = {"a": 0.0, "b": data.draw(st.sampled_from([-4.0, 0.0, 4.0]))}
    samples: dict[str, list[list[Any]]] = {
        name: [[float(time), str(at(time + late[name]))] for time in range(10 + shift, 380, 15)]
        for name, shift in (("a", 0), ("b", 2))
    }
    tail: dict[bytes, Tail] = {}
    total, begin = Counts(), 40.0
    for number in range(1, 12):
        until = 40.0 + number * 30.0
        gone = data.draw(st.sampled_from(["", "a", "b"])) if number > 1 else "b"
        seen = [
            [one for one in some if begin - 150 < one[0] <= until] for name, some in samples.items() if name != gone
        ]
        first, *others = sorted(seen, key=lambda some: -len(some))
        series = [Scraped({"__name__": "n"}, first, tuple(others))]
        span = Span(begin - 150, begin, until, number == 1)
        found = count_counters(series, [], tails=tail, scrapes=Scrapes([], series, span), span=span, part_is_bad=True)
        tail, begin = found.tails, until
        total += sum(found.counts.get((), {}).values(), Counts())
    # What was counted after the first reading, up to where the last one stands; nothing was taken for a reset.
    (stands,) = tail.values()
    started = max(float(text) for time, text in samples["a"] if time <= 40)
    assert total.good == stands.value - started


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.sampled_from([0.0, 0.0, 40.0, 100.0])), max_size=40))
def test_samples_that_come_after_later_ones_of_their_series_lose_nothing(steps: list[tuple[int, bool, float]]) -> None:
    value, truth, samples = 7, 0, [(0.0, 7, 0.0)]
    for number, (amount, reset, late) in enumerate(steps, start=1):
        before = value
        value = amount if reset else value + amount
        truth += value - before if value >= before else value
        samples.append((number * STEP, value, number * STEP + late))
    begin, first, tails, total = 5.0, True, dict[bytes, Tail](), 0
    while begin < samples[-1][0] + 200:
        until = begin + 20.0
        low = begin - (FIRST if first else OVERLAP)
        visible = [[t, str(v)] for t, v, shown in samples if low < t <= until and shown <= until]
        series = [Scraped({"__name__": "n"}, visible)] if visible else []
        span = Span(low, begin, until, first)
        found = count_counters(series, [], tails=tails, scrapes=Scrapes([], series, span), span=span, part_is_bad=True)
        begin, first, tails = until, False, found.tails
        total += sum(found.counts.get((), {}).values(), Counts()).good
    assert total == truth
