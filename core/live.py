"""What an action may ask of whoever runs it: how long it still has, and a place for the lines that it says."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

MAX_LINE = 4000


@dataclass(frozen=True)
class Effort:
    """One try of an action: until when (on the monotonic clock), and where its lines go."""

    deadline: float
    hear: Callable[[str], None]


_current: ContextVar[Effort | None] = ContextVar("assay_effort", default=None)


@contextmanager
def effort(*, seconds: float, hear: Callable[[str], None]) -> Iterator[None]:
    """Run what is inside as one try."""
    token = _current.set(Effort(time.monotonic() + seconds, hear))
    try:
        yield
    finally:
        _current.reset(token)


def say(text: str) -> None:
    """Say a line while it happens; nobody may be listening."""
    current = _current.get()
    if current is not None:
        current.hear(text.rstrip("\r\n")[:MAX_LINE])


def seconds_left(*, otherwise: float) -> float:
    """Return how long the current try still has, at most `otherwise`; never less than a tenth of a second."""
    current = _current.get()
    return otherwise if current is None else max(0.1, min(otherwise, current.deadline - time.monotonic()))
