"""When a recovery time is worse than it was, and when that cannot be told."""

import pytest

from chaos.domain.recovery_trend import worsened


@pytest.mark.parametrize(
    ("earlier", "now", "resolution", "is_worse"),
    [
        ([2.0, 2.1, 1.9], 4.2, 0.5, True),
        ([2.0, 2.1, 1.9], 2.9, 0.1, False),  # less than half as long again
        ([2.0, 2.1, 1.9], 3.9, 1.0, False),  # within both error bars
        ([2.0, 2.1], 40.0, 0.5, False),  # too few to know what is usual
        ([2.0, 90.0, 2.1, 1.9, 2.2], 4.2, 0.5, True),  # one outlier does not move the median
        ([4.0, 4.0, 4.0], 1.0, 0.1, False),
    ],
)
def test_worse_is_longer_by_half_and_beyond_both_error_bars(
    earlier: list[float], now: float, resolution: float, is_worse: bool
) -> None:
    assert (worsened(earlier, now, resolution=resolution) is not None) is is_worse


def test_it_says_by_how_much() -> None:
    assert str(worsened([2.0, 2.0, 2.0], 5.0, resolution=0.5)) == (
        "recovery took 5.00 s, 2.5 times the usual 2.00 s (median of 3 runs)"
    )
