"""Operating effectiveness: which occurrences were due in a window, which happened, passed and verify.

The words and what each needs are this project's own; they follow what an auditor of a Type II period asks: the
population, the deviations, and whether the absence of records means that nothing happened or that nothing was seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Strength(StrEnum):
    """How much a control or a check proves. SUPPORTING alone proves nothing."""

    DIRECT = "direct"
    PARTIAL = "partial"
    SUPPORTING = "supporting"


class Standing(StrEnum):
    """How a control operated over a window."""

    OPERATING = "operating"
    OPERATING_WITH_EXCEPTIONS = "operating_with_exceptions"
    NOT_OPERATING = "not_operating"
    NOT_TESTED = "not_tested"
    NO_POPULATION = "no_population"
    STALE = "stale"
    COLLECTOR_SILENT = "collector_silent"


class Outcome(StrEnum):
    """What became of an occurrence."""

    PASSED = "passed"
    FAILED = "failed"
    MISSED = "missed"
    PENDING = "pending"


# The worst first: what a whole takes from its parts.
BADNESS = (
    Standing.NOT_OPERATING,
    Standing.COLLECTOR_SILENT,
    Standing.STALE,
    Standing.NOT_TESTED,
    Standing.OPERATING_WITH_EXCEPTIONS,
    Standing.OPERATING,
    Standing.NO_POPULATION,
)


@dataclass(frozen=True)
class Due:
    """An occurrence that was due, or is pending, in the window."""

    key: str
    due_at: datetime
    outcome: Outcome
    happened_at: datetime | None = None
    verified: bool = False
    excepted: bool = False


@dataclass(frozen=True)
class Judgement:
    """A standing with its count: `passed` of `due`, of which `excepted` fell under an approved exception."""

    standing: Standing
    passed: int = 0
    due: int = 0
    excepted: int = 0
    reason: str = ""

    @property
    def counted(self) -> str:
        """`7 of 9`, or nothing when nothing was due."""
        return f"{self.passed} of {self.due}" if self.due else ""


@dataclass(frozen=True)
class Tally:
    """How many occurrences were due, passed and verify, or are excused; and when the last one happened."""

    due: int = 0
    passed: int = 0
    excepted: int = 0
    last: datetime | None = None


def tally(occurrences: Iterable[Due]) -> Tally:
    """Count occurrences. What is pending is not due; an exception excuses and never counts as passed."""
    due = [one for one in occurrences if one.outcome is not Outcome.PENDING]
    good = [one for one in due if one.outcome is Outcome.PASSED and one.verified]
    return Tally(
        due=len(due),
        passed=len(good),
        excepted=sum(1 for one in due if one.excepted and one not in good),
        last=max((one.happened_at for one in due if one.happened_at is not None), default=None),
    )


def excused_at(spans: Iterable[tuple[datetime, datetime]], moment: datetime) -> bool:
    """Say whether an approved exception covers a moment. After its end it never does."""
    return any(start <= moment < end for start, end in spans)


def judge_check(occurrences: Sequence[Due], **given: Any) -> Judgement:
    """Judge the occurrences of one check; see `judge_tally`."""
    return judge_tally(tally(occurrences), **given)


def judge_tally(
    counted: Tally,
    *,
    now: datetime,
    events: bool,
    operating_from_percent: int,
    fresh_for: timedelta | None,
    collector_alive: bool | None,
) -> Judgement:
    """Judge what a check counted.

    1. Nothing due: of a check by event, the collector decides between `no_population` and `collector_silent`; None
       means that nothing can show that it worked, and then nothing was tested.
    2. Otherwise the share of passed, verified occurrences decides; those that are excused lower no control.
    3. What would be good is stale when the last occurrence of a scheduled check is too old.
    """
    due, passed, excepted = counted.due, counted.passed, counted.excepted
    if not due:
        return _nothing_due(events=events, collector_alive=collector_alive)

    def judged(standing: Standing, reason: str) -> Judgement:
        return Judgement(standing, passed, due, excepted, reason)

    if passed == due:
        good = judged(Standing.OPERATING, "every occurrence that was due happened, passed and verifies in the ledger")
    elif passed and (passed + excepted) * 100 >= due * operating_from_percent:
        good = judged(Standing.OPERATING_WITH_EXCEPTIONS, f"{due - passed} of {due} deviate")
    else:
        return judged(Standing.NOT_OPERATING, f"{due - passed} of {due} failed, were missed or do not verify")
    if not events and fresh_for is not None and counted.last is not None and now - counted.last > fresh_for:
        return judged(Standing.STALE, f"the last occurrence is older than {fresh_for.days} days")
    return good


def judge_whole(parts: Iterable[tuple[Strength, Judgement]], *, nothing: str) -> Judgement:
    """Judge a control from its checks, or a requirement from its controls: the worst of what proves something.

    Supporting parts never make the whole good; `nothing` is said when there are only such parts or none.
    """
    proving = [judgement for strength, judgement in parts if strength is not Strength.SUPPORTING]
    if not proving:
        return Judgement(Standing.NOT_TESTED, reason=nothing)
    worst = min(proving, key=lambda judgement: BADNESS.index(judgement.standing))
    return Judgement(
        worst.standing,
        sum(one.passed for one in proving),
        sum(one.due for one in proving),
        sum(one.excepted for one in proving),
        worst.reason,
    )


def _nothing_due(*, events: bool, collector_alive: bool | None) -> Judgement:
    if not events:
        return Judgement(Standing.NOT_TESTED, reason="the first occurrence is not due yet")
    if collector_alive is None:
        return Judgement(Standing.NOT_TESTED, reason="nothing has happened yet that could be judged")
    if collector_alive:
        return Judgement(
            Standing.NO_POPULATION, reason="nothing of this kind happened, and the collector is known to have worked"
        )
    return Judgement(
        Standing.COLLECTOR_SILENT, reason="nothing was recorded, and nothing shows that the collector worked"
    )
