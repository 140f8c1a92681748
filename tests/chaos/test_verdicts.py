"""Which verdict follows from what is known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.domain.verdicts import Seen, verdict_of

GOOD = Seen(
    left_behind=(),
    aborted="",
    effects=(True,),
    throughout=False,
    steady_before=True,
    steady_during=None,
    steady_after=True,
)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (GOOD, "passed"),
        (replace(GOOD, steady_after=False), "failed"),
        (replace(GOOD, steady_after=None), "failed"),
        (replace(GOOD, steady_during=False), "passed"),
        (replace(GOOD, throughout=True, steady_during=False), "failed"),
        (replace(GOOD, throughout=True), "inconclusive"),
        (replace(GOOD, effects=(True, False)), "inconclusive"),
        (replace(GOOD, effects=(None,)), "inconclusive"),
        (replace(GOOD, effects=()), "inconclusive"),
        (replace(GOOD, steady_before=False), "inconclusive"),
        (replace(GOOD, steady_before=None), "inconclusive"),
        (replace(GOOD, aborted="enough"), "aborted"),
        (replace(GOOD, aborted="enough", left_behind=("db",)), "dirty"),
    ],
)
def test_the_worst_thing_that_is_known_decides(seen: Seen, verdict: str) -> None:
    assert verdict_of(seen)[0] == verdict


known = st.sampled_from([True, False, None])


@given(
    seen=st.builds(
        Seen,
        left_behind=st.sampled_from([(), ("db",)]),
        aborted=st.sampled_from(["", "why"]),
        effects=st.lists(known, max_size=3).map(tuple),
        throughout=st.booleans(),
        steady_before=known,
        steady_during=known,
        steady_after=known,
    )
)
def test_only_what_was_seen_to_hold_passes(seen: Seen) -> None:
    if verdict_of(seen)[0] == "passed":
        assert not seen.left_behind
        assert not seen.aborted
        assert seen.effects
        assert all(seen.effects)
        assert seen.steady_before
        assert seen.steady_after
        assert not seen.throughout or seen.steady_during
