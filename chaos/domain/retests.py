"""When what is said to be mended must be tried again: a period for each tier, counted from the day it was mended."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

RETEST_WITHIN: Mapping[int, timedelta] = {
    1: timedelta(days=14),
    2: timedelta(days=30),
    3: timedelta(days=60),
    4: timedelta(days=90),
}
STRICTEST_TIER = 1


def retest_within(tiers: Iterable[int], *, stated: Mapping[int, timedelta]) -> timedelta:
    """Return how soon a retest is due for a finding about services of these tiers.

    The most important tier decides; one without a stated period has the one above, and no service counts as tier 1.
    """
    tier = min(tiers, default=STRICTEST_TIER)
    return stated.get(tier, RETEST_WITHIN[tier])
