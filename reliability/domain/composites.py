"""SLOs made of several: weighted means, slices in which all must be good, and bounds where nothing joint was measured.

Weights are normalised. Time slices follow OpenSLO v1: a slice is bad when any component's is; RatioTimeslices:
1 - sum w_i (1 - r_i). The bounds of a journey through all components without joint data are Frechet's:
max(0, 1 - sum (1 - r_i)) <= r <= min r_i.
"""

from collections.abc import Sequence
from decimal import Decimal

from reliability.domain.budgets import Counts, Interval, sli
from reliability.domain.objectives import Objective

MEAN_UNITS = 1_000_000_000


def normalised(weights: Sequence[float]) -> list[float]:
    """Return weights that sum to 1."""
    total = sum(weights)
    return [weight / total for weight in weights]


def weighted_target(objectives: Sequence[Objective]) -> Decimal:
    """Return what a composite promises as a whole: the weighted mean of its components' targets."""
    total = sum((Decimal(repr(one.weight)) for one in objectives), Decimal(0))
    mean = sum((Decimal(repr(one.weight)) * one.target for one in objectives), Decimal(0)) / total
    return mean.quantize(Decimal("0.00000001"))


def weighted_sli(slis: Sequence[Interval | None], weights: Sequence[float]) -> Interval | None:
    """Return the weighted mean over the components that had events, or None when none had."""
    known = [(one, weight) for one, weight in zip(slis, weights, strict=True) if one is not None]
    if not known:
        return None
    shares = normalised([weight for _, weight in known])
    return Interval(
        sum(share * one.low for share, (one, _) in zip(shares, known, strict=True)),
        sum(share * one.high for share, (one, _) in zip(shares, known, strict=True)),
    )


def journey_bounds(slis: Sequence[Interval | None]) -> Interval | None:
    """Return between what the share of journeys lies that succeed in every component; None unless all were measured."""
    known = [one for one in slis if one is not None]
    if not known or len(known) < len(slis):
        return None
    return Interval(max(0.0, 1 - sum(1 - one.low for one in known)), min(one.high for one in known))


def mean_units(parts: Sequence[Counts], weights: Sequence[float]) -> Counts:
    """Return the weighted mean of the parts' SLIs as units; what any part did not measure is not measured."""
    mean = weighted_sli([sli(one) for one in parts], weights)
    measured = min((one.minutes_measured for one in parts), default=0)
    if mean is None:
        return Counts(minutes_measured=measured)
    good, unknown = round(mean.low * MEAN_UNITS), round((mean.high - mean.low) * MEAN_UNITS)
    return Counts(good, MEAN_UNITS - good - unknown, unknown, measured)
