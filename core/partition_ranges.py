"""How the months of a table's parts are numbered: each month has a range of whole numbers, and a row has one of them.

Two kinds: numbers of owners, which a sequence gives and a month's turn moves on; and minutes, which a row says itself.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

# Room for four thousand million rows in a month, and for months until the sun goes out.
MONTH_BITS = 32
# The minutes since 1970 that a key ends with.
MINUTE_BITS = 32


class Ranges(Protocol):
    """How a table's rows lie in months.

    `number` is the expression of the row's number, `step` a length of which every month is a whole multiple or less.
    A table whose key is not that number itself has its key in each part: PostgreSQL keeps none for all of them. The
    number must be part of the key, so that one key can never lie in two parts.
    """

    @property
    def key(self) -> str:
        """The column of the primary key."""

    @property
    def number(self) -> str:
        """The expression of a row's number."""

    @property
    def is_key(self) -> bool:
        """Whether the number is the key."""

    @property
    def step(self) -> int:
        """How many numbers always lie in one month."""

    def first(self, month: date) -> int:
        """Return the first number of a month."""

    def month_of(self, number: int) -> date | None:
        """Return the month of a number; None for one that is older than numbers by month."""


@dataclass(frozen=True)
class OwnerNumbers:
    """The key is the growing number of the row that the content belongs to."""

    key: str
    is_key = True
    step = 1 << MONTH_BITS

    @property
    def number(self) -> str:
        """The key itself."""
        return f'"{self.key}"'

    def first(self, month: date) -> int:
        """Return the first number of a month."""
        return first_key(month)

    def month_of(self, number: int) -> date | None:
        """Return the month that a number was given in."""
        return month_of(number)


@dataclass(frozen=True)
class Minutes:
    """The key ends with a minute since 1970; what stands before it is of no account here."""

    key: str
    is_key = False
    step = 1440

    @property
    def number(self) -> str:
        """The minute."""
        return f'("{self.key}" & {(1 << MINUTE_BITS) - 1})'

    def first(self, month: date) -> int:
        """Return the first minute of a month."""
        return int(month_start(month).timestamp()) // 60

    def month_of(self, number: int) -> date | None:
        """Return the month of a minute."""
        return datetime.fromtimestamp(number * 60, UTC).date().replace(day=1) if 0 <= number < 1 << 31 else None


def first_key(month: date) -> int:
    """Return the first number that owners get in a month."""
    return ((month.year - 1970) * 12 + month.month - 1) << MONTH_BITS


def month_of(key: int) -> date | None:
    """Return the month that an owner's number belongs to; None for one that is older than numbers by month."""
    months = key >> MONTH_BITS
    return date(1970 + months // 12, months % 12 + 1, 1) if 0 < months < 12 * 8000 else None


def following(month: date, by: int = 1) -> date:
    """Return the month so many after another."""
    months = month.year * 12 + month.month - 1 + by
    return date(months // 12, months % 12 + 1, 1)


def month_at(now: datetime) -> date:
    """Return the month of an instant, in UTC."""
    return now.astimezone(UTC).date().replace(day=1)


def month_start(month: date) -> datetime:
    """Return the instant at which a month begins, in UTC."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)
