"""Add events to the running sums of their minutes."""

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import F

from reliability.domain.budgets import Counts
from reliability.models import Tally

Increments = dict[tuple[int, int], Counts]


def merge(increments: Increments, *, version_id: int, minute: int, counts: Counts) -> None:
    """Add counts to what a request adds to a version's minute."""
    known = increments.get((version_id, minute), Counts())
    increments[version_id, minute] = Counts(
        known.good + counts.good, known.bad + counts.bad, known.unknown + counts.unknown
    )


def add_to_tallies(increments: Increments) -> None:
    """Add what was counted, in the caller's transaction; a minute that is named without events counts as measured.

    A late minute moves the sums of the minutes after it, of which there are few.
    """
    minutes: dict[int, list[int]] = defaultdict(list)
    for version_id, minute in increments:
        minutes[version_id].append(minute)
    for version_id, touched in sorted(minutes.items()):
        _ensure_minutes(version_id, sorted(touched))
        for minute in sorted(touched):
            counts = increments[version_id, minute]
            if counts.total:
                Tally.objects.filter(version_id=version_id, minute__gte=minute).update(
                    good_sum=F("good_sum") + counts.good,
                    bad_sum=F("bad_sum") + counts.bad,
                    unknown_sum=F("unknown_sum") + counts.unknown,
                )


def _ensure_minutes(version_id: int, minutes: Iterable[int]) -> None:
    rows = Tally.objects.select_for_update().filter(version_id=version_id)
    for minute in minutes:
        if rows.filter(minute=minute).exists():
            continue
        before = rows.filter(minute__lt=minute).order_by("-minute").first()
        Tally.objects.create(
            version_id=version_id,
            minute=minute,
            good_sum=before.good_sum if before else 0,
            bad_sum=before.bad_sum if before else 0,
            unknown_sum=before.unknown_sum if before else 0,
            minutes_sum=before.minutes_sum if before else 0,
        )
        Tally.objects.filter(version_id=version_id, minute__gte=minute).update(minutes_sum=F("minutes_sum") + 1)
