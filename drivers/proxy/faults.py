"""The faults of one proxy: each with its own end, refused once it has been taken back."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_TTL_SECONDS = 3600.0
MAX_FAULTS = 20
REMEMBERED = 1000

KINDS: dict[str, dict[str, tuple[float, float]]] = {
    "delay": {"milliseconds": (1, 60_000), "jitter_milliseconds": (0, 60_000)},
    "throttle": {"bytes_per_second": (1, 1e10)},
    "reset": {"percent": (1, 100)},
    "error_rate": {"percent": (1, 100), "status": (400, 599)},
}


class FaultRefusedError(ValueError):
    """The fault is not one that this proxy takes."""


@dataclass(frozen=True)
class ProxyFault:
    """One fault, until `ends_at` on the monotonic clock."""

    identifier: str
    kind: str
    values: dict[str, float]
    ends_at: float

    def described(self, now: float) -> dict[str, Any]:
        """Return the fault as JSON."""
        return {"id": self.identifier, "kind": self.kind, **self.values, "seconds_left": round(self.ends_at - now, 3)}


@dataclass
class Faults:
    """What is wrong with the proxy now."""

    clock: Callable[[], float] = time.monotonic
    chance: random.Random = field(default_factory=random.Random)
    _active: dict[str, ProxyFault] = field(default_factory=dict)
    _removed: dict[str, None] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)

    def add(self, identifier: str, wanted: dict[str, Any]) -> ProxyFault:
        """Add a fault. The same one again keeps its end; one that was taken back never returns."""
        present = self.active().get(identifier)
        if identifier in self._removed:
            raise FaultRefusedError(f"fault {identifier} was taken back; it does not return")
        if present is not None:
            return present
        if len(self._active) >= MAX_FAULTS:
            raise FaultRefusedError(f"{MAX_FAULTS} faults are active already")
        kind, values = _parsed(wanted)
        ttl = _number(wanted, "ttl_seconds", 0.1, MAX_TTL_SECONDS)
        fault = ProxyFault(identifier, kind, values, self.clock() + ttl)
        self._active[identifier] = fault
        self.hits[identifier] = 0
        return fault

    def remove(self, identifier: str) -> bool:
        """Take a fault back and remember it; returns whether it was active."""
        was_active = identifier in self.active()
        self._active.pop(identifier, None)
        self._remember(identifier)
        return was_active

    def active(self) -> dict[str, ProxyFault]:
        """Return the faults whose time is not up."""
        now = self.clock()
        for identifier in [one.identifier for one in self._active.values() if one.ends_at <= now]:
            self._remember(identifier)
            del self._active[identifier]
        return self._active

    def delay_seconds(self) -> float:
        """Return how long the next piece of an answer waits."""
        seconds = 0.0
        for fault in self._of("delay"):
            jitter = fault.values["jitter_milliseconds"]
            seconds += max(fault.values["milliseconds"] + self.chance.uniform(-jitter, jitter), 0) / 1000
            self._hit(fault)
        return seconds

    def bytes_per_second(self) -> float | None:
        """Return the narrowest limit, or None."""
        limits = [fault.values["bytes_per_second"] for fault in self._of("throttle")]
        for fault in self._of("throttle"):
            self._hit(fault)
        return min(limits, default=None)

    def resets(self) -> bool:
        """Say whether the next connection is reset."""
        return self._strikes("reset") is not None

    def error_status(self) -> int | None:
        """Return the status that the next request is answered with, or None."""
        fault = self._strikes("error_rate")
        return int(fault.values["status"]) if fault else None

    def _strikes(self, kind: str) -> ProxyFault | None:
        for fault in self._of(kind):
            if self.chance.uniform(0, 100) < fault.values["percent"]:
                self._hit(fault)
                return fault
        return None

    def _of(self, kind: str) -> list[ProxyFault]:
        return [fault for fault in self.active().values() if fault.kind == kind]

    def _hit(self, fault: ProxyFault) -> None:
        self.hits[fault.identifier] = self.hits.get(fault.identifier, 0) + 1

    def _remember(self, identifier: str) -> None:
        self._removed[identifier] = None
        while len(self._removed) > REMEMBERED:
            forgotten = next(iter(self._removed))
            del self._removed[forgotten]
            self.hits.pop(forgotten, None)


def _parsed(wanted: dict[str, Any]) -> tuple[str, dict[str, float]]:
    kind = wanted.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FaultRefusedError(f"kind: found {kind!r}; one of {', '.join(KINDS)} is allowed")
    bounds = KINDS[kind]
    if unknown := sorted(set(wanted) - set(bounds) - {"kind", "ttl_seconds"}):
        raise FaultRefusedError(f"{unknown[0]}: not known for a {kind}")
    return kind, {name: _number(wanted, name, *bound) for name, bound in bounds.items()}


def _number(wanted: dict[str, Any], name: str, low: float, high: float) -> float:
    value = wanted.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FaultRefusedError(f"{name}: found {value!r}; a number from {low:g} to {high:g} is allowed")
    return float(value)
