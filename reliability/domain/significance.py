"""Whether few bad events prove anything: an exact binomial tail, and Wilson's interval for the SLI.

Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference. The tail is summed from the
binomial probabilities themselves (log-gamma), so it is exact for low traffic, where approximations are not.
"""

import math

NEGLIGIBLE = 1e-17
Z_95 = 1.959963984540054


def binomial_tail(bad: int, events: int, probability: float) -> float:
    """Return P(X >= bad) for X ~ Binomial(events, probability)."""
    if bad <= 0:
        return 1.0
    if bad > events or probability <= 0:
        return 0.0
    if probability >= 1:
        return 1.0
    if bad <= events * probability:
        return max(1.0 - _sum_of_terms(bad - 1, events, probability, step=-1), 0.0)
    return min(_sum_of_terms(bad, events, probability, step=1), 1.0)


def is_significant(*, bad: int, events: int, burn_rate_threshold: float, target: float, alpha: float) -> bool:
    """Say whether so many bad events would be rarer than `alpha` if the budget were spent at the threshold's rate."""
    return binomial_tail(bad, events, min(burn_rate_threshold * (1 - target), 1.0)) <= alpha


def wilson_interval(good: int, events: int, *, z: float = Z_95) -> tuple[float, float] | None:
    """Return between what the true share of good events lies (95 % by default), or None without events."""
    if events <= 0:
        return None
    share = good / events
    centre = share + z * z / (2 * events)
    spread = z * math.sqrt(share * (1 - share) / events + z * z / (4 * events * events))
    scale = 1 + z * z / events
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def _sum_of_terms(first: int, events: int, probability: float, *, step: int) -> float:
    """Sum probabilities from `first` upwards or downwards until they no longer matter; they fall on that side."""
    log_p, log_q = math.log(probability), math.log1p(-probability)
    total, count = 0.0, first
    log_term = (
        math.lgamma(events + 1)
        - math.lgamma(count + 1)
        - math.lgamma(events - count + 1)
        + count * log_p
        + (events - count) * log_q
    )
    while 0 <= count <= events:
        term = math.exp(log_term)
        total += term
        if term <= total * NEGLIGIBLE:
            break
        if step > 0:
            if count == events:
                break
            log_term += math.log((events - count) / (count + 1)) + log_p - log_q
        else:
            if count == 0:
                break
            log_term += math.log(count / (events - count + 1)) + log_q - log_p
        count += step
    return total
