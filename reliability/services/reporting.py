"""Report what an SLO's window measured to the ledger."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from accounts.data import system_principal
from core.clock import database_now
from ledger.data.slo import SloWindowReported
from ledger.services import record
from reliability.domain.budgets import Interval, budget_remaining_ratio
from reliability.models import SLOVersion
from reliability.selectors import counts_between, minute_of

REPORTER = system_principal("slo-reporter")


def report_window(*, version: SLOVersion, reason: str, now: datetime | None = None) -> None:
    """Record the SLO's window, as counted up to now, in the ledger."""
    now = now or database_now()
    start, end = version.window.bounds(now)
    _report(version, start, min(end, now), reason)


def report_all_windows() -> None:
    """Record every SLO's window (daily)."""
    for version in _in_force():
        report_window(version=version, reason="daily report")


def report_ended_periods(*, now: datetime | None = None) -> int:
    """Record each calendar period that has ended since the last time, once; returns how many."""
    now = now or database_now()
    reported = 0
    for version in _in_force().filter(calendar__isnull=False):
        current, _ = version.window.bounds(now)
        if version.period_reported_until is not None and version.period_reported_until >= current:
            continue
        with transaction.atomic():
            known = version.period_reported_until
            claimed = SLOVersion.objects.filter(pk=version.pk, period_reported_until=known).update(
                period_reported_until=current
            )
            if claimed and current > version.counted_from:
                start, _ = version.window.bounds(current - timedelta(seconds=1))
                _report(version, start, current, "the period has ended")
                reported += 1
    return reported


def decimal_text(value: float | None) -> str:
    """Return a figure as decimal text for the ledger; nothing when it is not known."""
    return "" if value is None else str(Decimal(repr(value)).quantize(Decimal("0.0001")))


def low_of(figure: Interval | None) -> float | None:
    """Return the lower bound."""
    return None if figure is None else figure.low


def _in_force() -> QuerySet[SLOVersion]:
    return SLOVersion.objects.filter(retired_at__isnull=True).select_related("slo", "slo__service", "counts_with")


def _report(version: SLOVersion, start: datetime, end: datetime, reason: str) -> None:
    first, last = minute_of(start), minute_of(end - timedelta(microseconds=1)) + 1
    counts = counts_between(version=version, start_minute=first, end_minute=last)
    remaining = budget_remaining_ratio(counts, version.target)
    record(
        SloWindowReported(
            slo=version.slo.slug,
            service=version.slo.service.slug,
            definition_version=version.number,
            target=str(version.target),
            window_start=start,
            window_end=end,
            good_events=counts.good,
            bad_events=counts.bad,
            unknown_events=counts.unknown,
            minutes_measured=counts.minutes_measured,
            minutes_in_window=last - first,
            error_budget_remaining_ratio=decimal_text(low_of(remaining)),
            reason=reason,
        ),
        actor=REPORTER.reference,
        subject=f"slo:{version.slo.slug}",
        period=(start, end),
    )
