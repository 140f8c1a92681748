"""When a delivery that failed is tried again.

Webhooks follow the schedule published with Standard Webhooks 1.0.0: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h,
10 h, 14 h, 20 h and 24 h: ten tries in 75.6 hours. A page to a person is tried four times within three minutes, so
that a failing channel never costs an escalation its waiting time.
"""

from datetime import timedelta

WEBHOOK_DELAYS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
PAGE_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (15, 45, 120))
MAIL_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (15, 45, 120, 600, 3600, 14_400))

JITTER_RATIO = 0.2
LONGEST_RETRY_AFTER = timedelta(hours=24)


def next_delay(
    delays: tuple[timedelta, ...], *, tries: int, chance: float, retry_after: timedelta | None = None
) -> timedelta | None:
    """Return how long to wait after the `tries`-th try has failed; None when it was the last.

    `chance` is uniform in [0, 1] and spreads the wait by ±20 %. What the receiver asked for (`retry_after`, at most a
    day) is a lower bound: it is never undercut.
    """
    if tries < 1:
        raise ValueError("tries counts from 1")
    if tries > len(delays):
        return None
    wait = delays[tries - 1] * (1 + JITTER_RATIO * (2 * chance - 1))
    return max(wait, min(retry_after, LONGEST_RETRY_AFTER)) if retry_after is not None else wait
