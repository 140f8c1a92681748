"""Read what gauges reached day by day, for the forecast of when they run full."""

from datetime import UTC, date, datetime

from core.clock import database_now
from reliability.models import GaugeDay, SLOVersion
from reliability.selectors.tallies import minute_of
from reliability.services.prometheus import PrometheusReader, SourceError

DAYS_BACK = 56
MINUTES_A_DAY = 1440
RISING = {"lte", "lt"}
EPOCH = date(1970, 1, 1)


def read_gauge_days(*, now: datetime | None = None) -> int:
    """Read the whole days that are missing, of every gauge in force that a Prometheus holds; returns how many.

    A day without readings is not written and asked for again; a source that fails is left for the next time.
    """
    moment = now or database_now()
    today = minute_of(moment) // MINUTES_A_DAY
    read = 0
    found = SLOVersion.objects.filter(retired_at__isnull=True, data_source__isnull=False)
    for version in found.select_related("data_source"):
        if "value" not in version.indicator or version.data_source is None:
            continue
        known = {
            (one - EPOCH).days
            for one in GaugeDay.objects.filter(version_id=version.tally_id).values_list("day", flat=True)
        }
        missing = [day for day in range(today - DAYS_BACK, today) if day not in known and day > max(known, default=0)]
        if not missing:
            continue
        try:
            with PrometheusReader(version.data_source) as reader:
                read += _read(reader, version, missing)
        except SourceError:
            continue
    return read


def _read(reader: PrometheusReader, version: SLOVersion, days: list[int]) -> int:
    query = version.indicator["value"]
    if version.indicator["op"] in RISING:
        expression = f"max(quantile_over_time(0.95, ({query})[1d:1m]))"
    else:
        expression = f"min(quantile_over_time(0.05, ({query})[1d:1m]))"
    # The reader asks at the end of each of these minutes: the last ones of the days.
    minutes = range((days[0] + 1) * MINUTES_A_DAY - 1, (days[-1] + 1) * MINUTES_A_DAY, MINUTES_A_DAY)
    values = reader.increase(expression, minutes=minutes)
    rows = [
        GaugeDay(version_id=version.tally_id, day=_date(minute), peak=value)
        for minute, value in values.items()
        if value == value and abs(value) != float("inf")  # noqa: PLR0124 NaN
    ]
    GaugeDay.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _date(minute: int) -> date:
    return datetime.fromtimestamp(minute * 60, UTC).date()
