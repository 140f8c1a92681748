"""What took long to reckon, kept for a while by each process: for reports whose age the page states."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

MOST_KEPT = 64
T = TypeVar("T")


class Keeper(Generic[T]):
    """Keeps the last answers by key for some seconds; one reader reckons, the others get the answer before meanwhile.

    The key must hold all that the answer depends on, who asks included. `worth` says whether an answer is kept at all.
    """

    def __init__(self, *, seconds: float, worth: Callable[[T], bool]) -> None:
        self._seconds = seconds
        self._worth = worth
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._busy: set[Hashable] = set()
        self._lock = threading.Lock()

    def get(self, key: Hashable, reckon: Callable[[], T]) -> T:
        """Return the answer for a key, reckoned now or kept."""
        with self._lock:
            found = self._kept.get(key)
            if found and (time.monotonic() - found[0] < self._seconds or key in self._busy):
                return found[1]
            self._busy.add(key)
        try:
            answer = reckon()
        finally:
            with self._lock:
                self._busy.discard(key)
        with self._lock:
            self._kept.pop(key, None)
            if self._worth(answer):
                self._kept[key] = (time.monotonic(), answer)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return answer

    def forget(self) -> None:
        """Reckon anew at the next look."""
        with self._lock:
            self._kept.clear()
