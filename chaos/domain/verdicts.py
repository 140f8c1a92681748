"""What a run has shown: the worst thing that is known decides, and nothing unknown becomes green."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What is known when a run ends. `effects` holds, for each planned fault, whether it was seen to take effect."""

    left_behind: tuple[str, ...]
    aborted: str
    effects: tuple[bool | None, ...]
    throughout: bool
    steady_before: bool | None
    steady_during: bool | None
    steady_after: bool | None


def verdict_of(seen: Seen) -> tuple[str, str]:
    """Return the verdict and its reason in words."""
    answers = (
        (bool(seen.left_behind), "dirty", f"not undone: {', '.join(seen.left_behind)}"),
        (bool(seen.aborted), "aborted", seen.aborted),
        (not seen.steady_before, "inconclusive", "the steady state did not hold before the run"),
        (not seen.effects or not all(seen.effects), "inconclusive", "a fault never took effect"),
        (
            seen.throughout and seen.steady_during is False,
            "failed",
            "the steady state did not hold while the faults lasted",
        ),
        (
            seen.throughout and seen.steady_during is None,
            "inconclusive",
            "nobody looked at the steady state while the faults lasted",
        ),
        (bool(seen.steady_after), "passed", "the steady state held again in time"),
    )
    for holds, verdict, reason in answers:
        if holds:
            return verdict, reason
    return "failed", "the steady state did not return in time"
