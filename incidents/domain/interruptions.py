"""When a page interrupts somebody, by their own clock: at work, in the free hours, or asleep."""

from datetime import datetime, time
from enum import StrEnum

WORK_BEGINS, WORK_ENDS, NIGHT_BEGINS = time(8), time(18), time(22)
SATURDAY = 5


class Hours(StrEnum):
    """Business: 08 to 18 on weekdays. Sleep: 22 to 08. Off: what is left, 18 to 22 and weekend days."""

    BUSINESS = "business"
    OFF = "off"
    SLEEP = "sleep"


def hours_of(local: datetime) -> Hours:
    """Return what kind of hour a wall time is."""
    at = local.time()
    if at >= NIGHT_BEGINS or at < WORK_BEGINS:
        return Hours.SLEEP
    return Hours.BUSINESS if at < WORK_ENDS and local.weekday() < SATURDAY else Hours.OFF
