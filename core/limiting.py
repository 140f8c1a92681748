"""How many requests a sender may make: a token bucket for each, in the memory of one web process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

SENDERS = 10_000
BURST_SECONDS = 10


class RateLimit:
    """At most `rate` requests a second for each key over time, `BURST_SECONDS` worth of them at once; 0 is no limit.

    Each web process counts by itself, so a site with n of them lets n times as many through: the limit keeps one
    sender from crowding out the others, it is no quota. Of more than `SENDERS` keys the one that was quiet longest is
    forgotten.
    """

    def __init__(self, rate: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._now = now
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Take one request of the sender: 0 when it may pass, else the seconds until one may."""
        if self.rate <= 0:
            return 0.0
        burst = max(1.0, self.rate * BURST_SECONDS)
        with self._lock:
            now = self._now()
            left, at = self._left.pop(key, (burst, now))
            left = min(burst, left + (now - at) * self.rate)
            passes = left >= 1.0
            self._left[key] = (left - 1.0 if passes else left, now)
            if len(self._left) > SENDERS:
                self._left.popitem(last=False)
        return 0.0 if passes else (1.0 - left) / self.rate
