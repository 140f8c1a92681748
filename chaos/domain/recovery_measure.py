"""What a recovery took, reckoned from markers that a client wrote at a fixed cadence and from those that survived.

Open loop: a marker is sent when it is due, whether or not earlier ones were answered, so that a stalled server cannot
slow down the measurement of itself (coordinated omission; Gil Tene, "How NOT to Measure Latency", 2015). All instants
are seconds on one monotonic clock. Recovery time and recovery point are those of ISO 22300: 3.1.203 and 3.1.204.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Marker:
    """One write: when it was sent, when it was answered, and whether the client was told that it is done.

    `acknowledged` is None when the client was never told: it timed out, or the connection broke.
    """

    number: int
    sent: float
    answered: float | None = None
    acknowledged: bool | None = None


@dataclass(frozen=True)
class Cadence:
    """How finely a test looks: a marker every `every` seconds, given up after `timeout`."""

    every: float
    timeout: float

    @property
    def resolution(self) -> float:
        """The error bar of what is measured: a change can go unseen for a cadence and an answer for a timeout."""
        return self.every + self.timeout

    def counts(self, *, sent: float, answered: float) -> bool:
        """Say whether an answer came while the client still waited; one after its timeout acknowledges nothing."""
        return answered - sent <= self.timeout

    def can_measure(self, target: float | None) -> bool:
        """Say whether a promise is above the resolution; one below it cannot be told from its breach."""
        return target is None or target > self.resolution


@dataclass(frozen=True)
class Measured:
    """What markers show. None: it did not happen, or nothing was there to measure it by."""

    acknowledged: int
    first_success: float | None
    sustained: float | None
    client_outage: float | None
    recovery_point: float | None
    lost: tuple[int, ...]
    ambiguous: tuple[int, ...]
    holes: int


def measure(
    markers: Sequence[Marker], survivors: Collection[int], *, fault_at: float, fault_done: float, settle: float = 0.0
) -> Measured:
    """Reckon recovery time and point.

    A success counts only for a marker sent after the fault was done (`fault_done`): one in flight may still be answered
    by what is about to die. Sustained is the first success after the last failure, if nothing failed for `settle`
    seconds after it. The recovery point is the age, at the fault, of the newest acknowledged marker that survived.
    `holes` are lost markers older than that one: then what survived is not one piece.
    """
    ordered = sorted(markers, key=lambda marker: (marker.sent, marker.number))
    kept = set(survivors)
    done = [one for one in ordered if one.acknowledged and one.answered is not None]
    lost = tuple(one.number for one in done if one.number not in kept)
    before = [one for one in done if (one.answered or 0.0) <= fault_at]
    newest = max((one for one in before if one.number in kept), key=lambda one: one.answered or 0.0, default=None)
    after = [one for one in ordered if one.sent > fault_done]
    successes = [one.answered for one in after if one.acknowledged and one.answered is not None]
    first = min(successes, default=None)
    sustained = sustained_from(after, after=fault_done, settle=settle)
    last_before = max((one.answered for one in before if one.answered is not None), default=None)
    return Measured(
        acknowledged=len(done),
        first_success=None if first is None else first - fault_at,
        sustained=None if sustained is None else sustained - fault_at,
        client_outage=None if first is None or last_before is None else first - last_before,
        recovery_point=None if newest is None or newest.answered is None else fault_at - newest.answered,
        lost=lost,
        ambiguous=tuple(one.number for one in ordered if not one.acknowledged and one.number in kept),
        holes=0 if newest is None else sum(number < newest.number for number in lost),
    )


def sustained_from(markers: Sequence[Marker], *, after: float, settle: float) -> float | None:
    """Return the instant of the first success after the last failure, if markers went on well for `settle` after it.

    Only markers sent after `after` count, in the order in which they were sent; one without an answer is a failure.
    """
    start, last = None, after
    for marker in sorted(markers, key=lambda one: (one.sent, one.number)):
        if marker.sent <= after:
            continue
        last = marker.sent
        if not marker.acknowledged or marker.answered is None:
            start = None
        else:
            start = marker.answered if start is None else min(start, marker.answered)
    return None if start is None or last - start < settle else start


def parts_until(first_success: float, parts: Mapping[str, float]) -> dict[str, float]:
    """Return the parts of a recovery, in order, so that they add up to what the client saw.

    What is left after the last one is the cutover. A client may be served before the step that let it in has returned:
    the parts end with its first answer.
    """
    left, found = first_success, {}
    for name, seconds in parts.items():
        if name != "cutover":
            found[name] = min(seconds, left)
            left -= found[name]
    return {**found, "cutover": left}


@dataclass(frozen=True)
class Findings:
    """What a test has found besides its times. None: not looked at."""

    data_passed: bool | None
    security_passed: bool | None
    cleaned_up: bool
    problem: str = ""
    restores_data: bool = True


def judge(
    measured: Measured | None, cadence: Cadence, findings: Findings, *, rto: float | None, rpo: float | None
) -> tuple[str, str]:
    """Return verdict and reason. Too close to the promise to tell is inconclusive; nothing unknown becomes passed."""
    if not findings.cleaned_up:
        return "dirty", "what the test had put up could not be removed"
    if findings.problem:
        return "inconclusive", findings.problem
    if measured is None:
        return "inconclusive", "nothing was measured"
    failures, unclear = _compare(measured, cadence, rto=rto, rpo=rpo)
    if measured.holes:
        failures.append(f"{measured.holes} acknowledged rows are missing in the midst of what survived")
    if findings.data_passed is False:
        failures.append("the recovered data is not the data that was there")
    if findings.security_passed is False:
        failures.append("the recovered side protects less than the original")
    if failures:
        return "failed", "; ".join(failures)
    if findings.data_passed is None and findings.restores_data:
        unclear.append("the recovered data was not checked")
    if rto is None and rpo is None:
        unclear.append("the service promises neither RTO nor RPO")
    if unclear:
        return "inconclusive", "; ".join(unclear)
    return "passed", "recovered within the promise"


def _compare(
    measured: Measured, cadence: Cadence, *, rto: float | None, rpo: float | None
) -> tuple[list[str], list[str]]:
    failures: list[str] = []
    unclear: list[str] = []
    if measured.sustained is None:
        failures.append("it did not recover while the test looked")
    for name, actual, promised in (("RTO", measured.sustained, rto), ("RPO", measured.recovery_point, rpo)):
        if promised is None or (actual is None and name == "RTO"):
            continue
        if not cadence.can_measure(promised):
            unclear.append(f"{name} {promised:g} s is below the resolution of {cadence.resolution:g} s")
        elif actual is None:
            failures.append("no acknowledged row survived")
        elif actual > promised:
            failures.append(f"{name} {promised:g} s promised, {actual:.2f} s measured")
        elif actual + cadence.resolution > promised:
            unclear.append(f"{name} {promised:g} s promised, {actual:.2f} s ± {cadence.resolution:g} s measured")
    return failures, unclear
