"""Months and quarters of a service-level report, in UTC: `2026-03`, `2026-Q1`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_PERIOD = re.compile(r"(\d{4})-(?:(0[1-9]|1[0-2])|Q([1-4]))")


@dataclass(frozen=True)
class Period:
    """A calendar month or quarter."""

    key: str
    start: datetime
    end: datetime

    @property
    def title(self) -> str:
        """The period in words."""
        if "Q" in self.key:
            return f"{self.key[5:]} {self.key[:4]}"
        return f"{self.start:%B %Y}"


def period(key: str) -> Period | None:
    """Return the period of a key, or None for a text that is none."""
    match = _PERIOD.fullmatch(key)
    if match is None or not 1970 <= int(match[1]) < 9999:
        return None
    year = int(match[1])
    month, length = (int(match[2]), 1) if match[2] else (3 * int(match[3]) - 2, 3)
    last = month + length - 1
    end = datetime(year + last // 12, last % 12 + 1, 1, tzinfo=UTC)
    return Period(key, datetime(year, month, 1, tzinfo=UTC), end)


def periods_before(latest: Period, count: int) -> list[Period]:
    """Return a period and those before it, newest first, `count` in all."""
    found = [latest]
    same = quarter_of if "Q" in latest.key else month_of
    while len(found) < count:
        found.append(same(found[-1].start - timedelta(seconds=1)))
    return found


def month_of(moment: datetime) -> Period:
    """Return the month that holds an instant."""
    found = period(f"{moment.astimezone(UTC):%Y-%m}")
    assert found is not None  # noqa: S101 every instant has a month
    return found


def quarter_of(moment: datetime) -> Period:
    """Return the quarter that holds an instant."""
    utc = moment.astimezone(UTC)
    found = period(f"{utc.year}-Q{(utc.month + 2) // 3}")
    assert found is not None  # noqa: S101 every instant has a quarter
    return found
