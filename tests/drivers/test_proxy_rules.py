"""The arithmetic of a proxy's faults, with a clock that stands still."""

import random
from collections import Counter

import pytest

from drivers.proxy.faults import FaultRefusedError, Faults


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faults(clock: Clock) -> Faults:
    return Faults(clock=clock, chance=random.Random(7))


def test_a_fault_ends_when_its_time_is_up(faults: Faults, clock: Clock) -> None:
    faults.add("a", {"kind": "delay", "milliseconds": 200, "jitter_milliseconds": 0, "ttl_seconds": 5})
    assert faults.delay_seconds() == pytest.approx(0.2)
    clock.now += 5
    assert faults.delay_seconds() == 0
    assert not faults.active()


def test_a_fault_that_was_taken_back_never_returns(faults: Faults) -> None:
    assert not faults.remove("late")
    with pytest.raises(FaultRefusedError, match="taken back"):
        faults.add("late", {"kind": "reset", "percent": 100, "ttl_seconds": 5})


def test_a_fault_whose_time_was_up_never_returns(faults: Faults, clock: Clock) -> None:
    faults.add("a", {"kind": "reset", "percent": 100, "ttl_seconds": 5})
    clock.now += 6
    with pytest.raises(FaultRefusedError, match="taken back"):
        faults.add("a", {"kind": "reset", "percent": 100, "ttl_seconds": 5})


def test_the_same_fault_again_keeps_its_end(faults: Faults, clock: Clock) -> None:
    first = faults.add("a", {"kind": "reset", "percent": 100, "ttl_seconds": 5})
    clock.now += 3
    assert faults.add("a", {"kind": "reset", "percent": 100, "ttl_seconds": 5}).ends_at == first.ends_at


def test_delays_add_up_and_jitter_stays_within_its_bounds(faults: Faults) -> None:
    faults.add("a", {"kind": "delay", "milliseconds": 100, "jitter_milliseconds": 50, "ttl_seconds": 5})
    faults.add("b", {"kind": "delay", "milliseconds": 10, "jitter_milliseconds": 0, "ttl_seconds": 5})
    seen = [faults.delay_seconds() for _ in range(500)]
    assert 0.06 <= min(seen) < 0.07
    assert 0.15 < max(seen) <= 0.16


def test_an_error_rate_strikes_its_share(faults: Faults) -> None:
    faults.add("a", {"kind": "error_rate", "percent": 30, "status": 503, "ttl_seconds": 5})
    struck = Counter(faults.error_status() for _ in range(4000))
    assert set(struck) == {None, 503}
    assert struck[503] / 4000 == pytest.approx(0.3, abs=0.03)
    assert faults.hits["a"] == struck[503]


def test_the_narrowest_throttle_holds(faults: Faults) -> None:
    for name, limit in (("a", 9000), ("b", 4000)):
        faults.add(name, {"kind": "throttle", "bytes_per_second": limit, "ttl_seconds": 5})
    assert faults.bytes_per_second() == 4000


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"kind": "explode", "ttl_seconds": 5}, "one of delay, throttle"),
        ({"kind": "reset", "percent": 0, "ttl_seconds": 5}, "percent: found 0"),
        ({"kind": "reset", "percent": True, "ttl_seconds": 5}, "percent: found True"),
        ({"kind": "reset", "percent": 50}, "ttl_seconds: found None"),
        ({"kind": "reset", "percent": 50, "ttl_seconds": 1e9}, "ttl_seconds"),
        ({"kind": "reset", "percent": 50, "ttl_seconds": float("nan")}, "ttl_seconds"),
        ({"kind": "reset", "percent": 50, "ttl_seconds": 5, "status": 500}, "status: not known for a reset"),
    ],
)
def test_what_is_not_a_fault_is_refused(faults: Faults, wanted: dict[str, object], said: str) -> None:
    with pytest.raises(FaultRefusedError, match=said):
        faults.add("a", wanted)
    assert not faults.active()
