"""Recovery time and point from markers: worked examples, and what must hold for any of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.domain.recovery_measure import Cadence, Findings, Marker, judge, measure, parts_until, sustained_from

CADENCE = Cadence(every=0.1, timeout=0.4)
GOOD = Findings(data_passed=True, security_passed=True, cleaned_up=True)


def written(sent: float, number: int, *, ok: bool | None = True, took: float = 0.01) -> Marker:
    return Marker(number, sent, sent + took, ok)


def outage(*, start: float, end: float, until: float = 6.0) -> list[Marker]:
    """Markers each tenth of a second; those sent in the outage fail."""
    return [written(number / 10, number, ok=not start <= number / 10 < end) for number in range(int(until * 10))]


def test_recovery_is_counted_from_the_fault_to_the_answer() -> None:
    markers = outage(start=2.0, end=3.0)
    found = measure(markers, {one.number for one in markers if one.acknowledged}, fault_at=1.95, fault_done=1.96)
    assert found.first_success == pytest.approx(1.06)
    assert found.sustained == pytest.approx(1.06)
    assert found.client_outage == pytest.approx(3.01 - 1.91)
    assert found.recovery_point == pytest.approx(0.04)
    assert found.lost == found.ambiguous == ()


def test_a_relapse_moves_sustained_recovery_and_not_the_first_success() -> None:
    markers = outage(start=2.0, end=3.0)
    markers[40] = written(4.0, 40, ok=False)
    found = measure(markers, range(100), fault_at=1.95, fault_done=1.96)
    assert found.first_success == pytest.approx(1.06)
    assert found.sustained == pytest.approx(4.11 - 1.95)


def test_an_answer_to_a_marker_in_flight_is_no_recovery() -> None:
    markers = [written(1.9, 1), written(1.955, 2), written(2.5, 3)]
    found = measure(markers, {1, 2, 3}, fault_at=1.95, fault_done=1.96)
    assert found.first_success == pytest.approx(0.56)


def test_acknowledged_and_missing_is_lost_and_there_without_an_answer_is_ambiguous() -> None:
    markers = [written(1.0, 1), written(1.1, 2), written(1.2, 3), written(1.3, 4, ok=None), written(1.4, 5, ok=False)]
    found = measure(markers, {1, 4}, fault_at=1.5, fault_done=1.5)
    assert found.lost == (2, 3)
    assert found.ambiguous == (4,)
    assert found.recovery_point == pytest.approx(1.5 - 1.01)
    assert found.holes == 0


def test_a_hole_in_what_survived_is_noticed() -> None:
    markers = [written(1.0, 1), written(1.1, 2), written(1.2, 3)]
    found = measure(markers, {1, 3}, fault_at=1.5, fault_done=1.5)
    assert found.holes == 1
    assert judge(found, CADENCE, GOOD, rto=None, rpo=9.0)[0] == "failed"


def test_without_markers_nothing_is_known() -> None:
    found = measure([], set(), fault_at=1.0, fault_done=1.0)
    assert found.first_success is None
    assert found.recovery_point is None
    assert judge(found, CADENCE, GOOD, rto=9.0, rpo=9.0)[0] == "failed"
    assert judge(None, CADENCE, GOOD, rto=9.0, rpo=9.0) == ("inconclusive", "nothing was measured")


@pytest.mark.parametrize(
    ("rto", "rpo", "findings", "verdict", "reason"),
    [
        (5.0, 5.0, GOOD, "passed", "within the promise"),
        (1.0, 5.0, GOOD, "failed", "RTO 1 s promised, 1.06 s measured"),
        (1.2, 5.0, GOOD, "inconclusive", "1.06 s ± 0.5 s measured"),
        (0.5, 5.0, GOOD, "inconclusive", "RTO 0.5 s is below the resolution of 0.5 s"),
        (None, None, GOOD, "inconclusive", "promises neither"),
        (5.0, 5.0, Findings(None, True, cleaned_up=True), "inconclusive", "was not checked"),
        (5.0, 5.0, Findings(False, True, cleaned_up=True), "failed", "not the data"),
        (5.0, 5.0, Findings(True, False, cleaned_up=True), "failed", "protects less"),
        (5.0, 5.0, Findings(True, True, cleaned_up=False), "dirty", "could not be removed"),
        (5.0, 5.0, Findings(True, True, cleaned_up=True, problem="broke"), "inconclusive", "broke"),
    ],
)
def test_a_verdict_says_why(
    rto: float | None, rpo: float | None, findings: Findings, verdict: str, reason: str
) -> None:
    found = measure(outage(start=2.0, end=3.0), range(100), fault_at=1.95, fault_done=1.96)
    word, said = judge(found, CADENCE, findings, rto=rto, rpo=rpo)
    assert word == verdict
    assert reason in said


def test_sustained_is_counted_from_the_first_answer_however_slow_answers_are() -> None:
    slow = [written(2.0 + number / 10, number, took=3.0 - number / 10) for number in range(20)]
    assert sustained_from(slow, after=1.9, settle=1.0) is None, "what came together at one instant does not last"
    later = [written(5.0 + number / 10, 100 + number, took=2.0) for number in range(20)]
    assert sustained_from([*slow, *later], after=1.9, settle=1.0) == pytest.approx(5.0)
    assert sustained_from([*slow, *later, Marker(200, 7.0)], after=1.9, settle=1.0) is None, "the last one hangs"


def test_the_parts_add_up_to_what_the_client_saw() -> None:
    assert parts_until(5.0, {"detect": 1.0, "promote": 2.5}) == {"detect": 1.0, "promote": 2.5, "cutover": 1.5}
    served_early = parts_until(3.0, {"detect": 1.0, "promote": 2.5})
    assert served_early == {"detect": 1.0, "promote": 2.0, "cutover": 0.0}


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60),
    st.integers(min_value=0, max_value=60),
)
def test_every_row_is_accounted_for_once(rows: list[tuple[bool, bool]], fault: int) -> None:
    markers = [written(number / 10, number, ok=ok or None) for number, (ok, _) in enumerate(rows)]
    kept = {number for number, (_, there) in enumerate(rows) if there}
    found = measure(markers, kept, fault_at=fault / 10, fault_done=fault / 10)
    acknowledged = {one.number for one in markers if one.acknowledged}
    assert len(found.lost) + len(acknowledged & kept) == found.acknowledged
    assert set(found.ambiguous) == kept - acknowledged
    if found.sustained is not None and found.first_success is not None:
        assert found.sustained >= found.first_success
