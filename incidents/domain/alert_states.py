"""What an incoming state of an alert means, given what is known; written so that order and repetition do not matter.

Alertmanager delivers at least once and in no promised order ("High availability", prometheus/alertmanager). An alert's
episode is named by its fingerprint and the instant at which it started. A resolution that arrives before its alert is
kept as a closed record (tombstone), so that the late alert opens nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What to do with an incoming state.

    CONTINUE: it fires still, under a later start; a resolution of the earlier start must not close it any more.
    RESOLVE: close the stored episode; of its start and the incoming one, the later names it from then on.
    """

    OPEN = "open"
    REPEAT = "repeat"
    CONTINUE = "continue"
    RESOLVE = "resolve"
    TOMBSTONE = "tombstone"
    STALE = "stale"


@dataclass(frozen=True)
class Episode:
    """A stored episode. `ends_at` is None while it fires."""

    starts_at: datetime
    ends_at: datetime | None


def judge(
    *, firing: bool, starts_at: datetime, ends_at: datetime | None, known: Episode | None, latest: Episode | None
) -> Verdict:
    """Judge an incoming state.

    `known` is the stored episode with this very start, `latest` the stored episode of the fingerprint that started
    last; either may be None, and they may be the same.
    """
    if known is not None:
        return _judge_known(firing=firing, known=known)
    if firing:
        return _judge_new_firing(starts_at, latest)
    if latest is not None and latest.ends_at is None and ends_at is not None and ends_at >= latest.starts_at:
        # The source restarted in between and gave the same alert another start.
        return Verdict.RESOLVE
    return Verdict.TOMBSTONE


def _judge_known(*, firing: bool, known: Episode) -> Verdict:
    if firing:
        return Verdict.REPEAT if known.ends_at is None else Verdict.STALE
    return Verdict.RESOLVE if known.ends_at is None else Verdict.REPEAT


def _judge_new_firing(starts_at: datetime, latest: Episode | None) -> Verdict:
    if latest is None:
        return Verdict.OPEN
    if latest.ends_at is None:
        return Verdict.CONTINUE if starts_at > latest.starts_at else Verdict.REPEAT
    # What began before the last episode was closed is old news that was delayed.
    return Verdict.STALE if starts_at < latest.ends_at else Verdict.OPEN
