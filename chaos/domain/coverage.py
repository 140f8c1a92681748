"""What has been proven about a service, how that ages, and what was never tried.

A score is the mean over the failure modes that a service of its tier must survive: a proof counts in full for 30 days
and then loses half of its worth every 90 days, without ever reaching nothing; a failure counts a quarter of a proof,
because a known weakness is worth more than an unknown one; what was never tried counts nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FULL_FOR = timedelta(days=30)
HALVES_EVERY = timedelta(days=90)
WORTH: Mapping[str, float] = {"passed": 1.0, "failed": 0.25}


class FailureMode(StrEnum):
    """A way in which something that a service rests on fails."""

    LOSS = "loss"
    FREEZE = "freeze"
    SLOW = "slow"
    ERRORS = "errors"
    CUT_OFF = "cut-off"
    SHORTAGE = "shortage"
    RECOVERY = "recovery"


WORDS: Mapping[FailureMode, str] = {
    FailureMode.LOSS: "Loss",
    FailureMode.FREEZE: "Freeze",
    FailureMode.SLOW: "Slowness",
    FailureMode.ERRORS: "Errors",
    FailureMode.CUT_OFF: "Cut off",
    FailureMode.SHORTAGE: "Shortage",
    FailureMode.RECOVERY: "Recovery",
}
EXPECTED: Mapping[int, tuple[FailureMode, ...]] = {
    1: tuple(FailureMode),
    2: (FailureMode.LOSS, FailureMode.FREEZE, FailureMode.SLOW, FailureMode.CUT_OFF, FailureMode.RECOVERY),
    3: (FailureMode.LOSS, FailureMode.SLOW, FailureMode.RECOVERY),
    4: (FailureMode.LOSS,),
}
_MODES: Mapping[FailureMode, tuple[str, ...]] = {
    FailureMode.LOSS: (
        "process.kill",
        "process.restart",
        "gpu.lose",
        "trainer.kill",
        "site.kill",
        "postgresql.kill",
        "postgresql.promote",
        "postgresql.end_sessions",
        "kubernetes.delete_pods",
        "kubernetes.rollout_restart",
        "kubernetes.drain",
        "kubernetes.cordon",
    ),
    FailureMode.FREEZE: ("process.stop", "process.freeze_cgroup", "site.freeze"),
    FailureMode.SLOW: ("proxy.delay", "proxy.throttle", "network.delay", "haproxy.delay", "network.bandwidth"),
    FailureMode.ERRORS: ("proxy.error_rate", "proxy.reset", "network.reject", "network.loss"),
    FailureMode.CUT_OFF: (
        "network.partition",
        "kubernetes.isolate",
        "haproxy.drain",
        "haproxy.maintenance",
        "postgresql.pause_replay",
        "site.cut_broker",
    ),
    FailureMode.SHORTAGE: (
        "pressure.cpu",
        "pressure.memory",
        "pressure.disk",
        "process.limit_files",
        "postgresql.exhaust_connections",
        "kubernetes.scale",
        "haproxy.weight",
        "haproxy.shift",
        "site.lock_database",
    ),
}
MODE_OF: Mapping[str, FailureMode] = {action: mode for mode, actions in _MODES.items() for action in actions}


@dataclass(frozen=True)
class Proof:
    """The newest run that says something about a service and a failure mode."""

    mode: FailureMode
    verdict: str
    at: datetime
    reference: str
    recovery: bool = False


@dataclass(frozen=True)
class Score:
    """How much is proven, from 0 to 100, and of how many modes there is any proof."""

    points: int
    proven: int
    expected: int


def worth_of(verdict: str, *, age: timedelta) -> float:
    """Return what a run of this age is worth, from 0 to 1."""
    late = max(age - FULL_FOR, timedelta(0))
    return float(WORTH.get(verdict, 0.0) * 0.5 ** (late / HALVES_EVERY))


def score_of(proofs: Iterable[Proof], *, tier: int, now: datetime) -> Score:
    """Return a service's score by the newest proof of each failure mode that its tier asks for."""
    newest: dict[FailureMode, Proof] = {}
    for proof in proofs:
        known = newest.get(proof.mode)
        if known is None or proof.at > known.at:
            newest[proof.mode] = proof
    expected = EXPECTED[tier]
    worth = [worth_of(newest[mode].verdict, age=now - newest[mode].at) if mode in newest else 0.0 for mode in expected]
    proven = sum(1 for mode in expected if mode in newest and newest[mode].verdict == "passed")
    return Score(round(100 * sum(worth) / len(expected)), proven, len(expected))


def is_worse(seconds: float, *, before: Sequence[float]) -> bool:
    """Say whether a recovery took clearly longer than the ones before: half as long again, and ten seconds more."""
    if len(before) < 3:
        return False
    ordered = sorted(before)
    middle = ordered[len(ordered) // 2]
    return seconds > 1.5 * middle and seconds > middle + 10
