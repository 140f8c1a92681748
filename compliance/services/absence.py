"""Attest that nothing happened: only where the collector is known to have worked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from compliance.domain.periods import Cadence, period_at, periods_between
from compliance.domain.rules import Alive, Rule
from compliance.models import Check, Occurrence
from compliance.selectors.life import alive_throughout, signs_of_life
from compliance.services.noting import CHECKER
from ledger.data.controls import AbsenceAttested
from ledger.selectors import entries
from ledger.services import record


def is_month_over(check: Check, *, now: datetime) -> bool:
    """Say whether a month has ended that was not looked at for absence."""
    return period_at(Cadence.MONTHLY, check.attested_until or check.started_at).end <= now


def attest_absence(check: Check, rule: Rule, alive: Alive, *, now: datetime) -> None:
    """Attest each whole month without an occurrence in which the collector is known to have worked throughout."""
    start = check.attested_until or check.started_at
    reach = timedelta(days=alive.within_days)
    for month in periods_between(Cadence.MONTHLY, start, now):
        if month.end > now:
            break
        begin = max(month.start, check.started_at)
        if not Occurrence.objects.filter(check_run=check, due_at__gte=begin, due_at__lt=month.end).exists():
            signs = signs_of_life(alive.entries, start=begin - reach, end=month.end)
            if alive_throughout(signs, start=begin, end=month.end, reach=reach):
                _record_absence(check, rule, alive, start=begin, end=month.end, signs=signs)
        start = month.end
    Check.objects.filter(pk=check.pk).update(attested_until=start)


def _record_absence(
    check: Check, rule: Rule, alive: Alive, *, start: datetime, end: datetime, signs: Sequence[datetime]
) -> None:
    seen = entries(types=alive.entries, since=start, until=end).filter(seal__isnull=False)
    canary = seen.values_list("seal__seq", flat=True).first()
    silences = [later - earlier for earlier, later in pairwise([start, *(one for one in signs if one > start), end])]
    record(
        AbsenceAttested(
            control=check.control.slug,
            check=check.slug,
            check_version=check.version,
            window_start=start,
            window_end=end,
            population=rule.entries,
            signs_of_life=seen.count(),
            longest_silence_seconds=int(max(silences).total_seconds()),
            canary=-1 if canary is None else canary,
        ),
        actor=CHECKER.reference,
        subject=f"control:{check.control.slug}",
        period=(start, end),
    )
