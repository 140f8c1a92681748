"""When failed sign-ins lock a name or an address out, and until when."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LOCKOUT_WINDOW = timedelta(minutes=15)
FAILURES_BY_NAME = 8
FAILURES_BY_ADDRESS = 40


class LockedKind(StrEnum):
    """What is locked out."""

    NAME = "name"
    ADDRESS = "address"


def counted_name(username: str) -> str:
    """Return the name that failures count by: directories take `Nora` and `nora` for one, and so are their guesses."""
    return username.strip().casefold()[:150]


@dataclass(frozen=True)
class LockOut:
    """A name or an address that nobody signs in by until `until`, if nothing more fails."""

    kind: LockedKind
    key: str
    failures: int
    latest: datetime
    until: datetime


def lock_outs(failures: Iterable[tuple[str, str, datetime]], *, now: datetime) -> list[LockOut]:
    """Return who is locked out by failures (name, address, instant), the latest first.

    A lock ends when so many failures are older than the window that fewer are left than lock.
    """
    times: dict[tuple[LockedKind, str], list[datetime]] = defaultdict(list)
    for name, address, at in failures:
        if now - at < LOCKOUT_WINDOW:
            times[LockedKind.NAME, name].append(at)
            times[LockedKind.ADDRESS, address].append(at)
    found = []
    for (kind, key), instants in times.items():
        needed = FAILURES_BY_NAME if kind is LockedKind.NAME else FAILURES_BY_ADDRESS
        if len(instants) >= needed:
            ordered = sorted(instants)
            until = ordered[len(ordered) - needed] + LOCKOUT_WINDOW
            found.append(LockOut(kind, key, len(ordered), ordered[-1], until))
    return sorted(found, key=lambda one: (one.latest, one.kind, one.key), reverse=True)
