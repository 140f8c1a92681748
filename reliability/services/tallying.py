"""Add events to the running sums of their minutes."""

from collections.abc import Iterable, Mapping

from reliability.domain.budgets import Counts
from reliability.models import SLOVersion, Tally

Increments = dict[tuple[int, int], Counts]


def merge(increments: Increments, *, tally_id: int, minute: int, counts: Counts) -> None:
    """Add counts to what is to be added to a minute."""
    known = increments.get((tally_id, minute), Counts())
    increments[tally_id, minute] = Counts(
        known.good + counts.good, known.bad + counts.bad, known.unknown + counts.unknown
    )


def lock_tallies(tally_ids: Iterable[int]) -> None:
    """Let one transaction at a time count for these versions; call it before reading what counting depends on.

    Running sums and stream states are read and written back: two at once would lose what the other added.
    """
    list(
        SLOVersion.objects.select_for_update(no_key=True)
        .filter(pk__in=set(tally_ids))
        .order_by("pk")
        .values_list("pk", flat=True)
    )


def add_to_tallies(increments: Mapping[tuple[int, int], Counts]) -> None:
    """Add what was counted; a minute that is named without events counts as measured. The caller holds the locks.

    A late minute moves the sums of the minutes after it, of which there are few.
    """
    by_version: dict[int, dict[int, Counts]] = {}
    for (tally_id, minute), counts in increments.items():
        by_version.setdefault(tally_id, {})[minute] = counts
    changed: list[Tally] = []
    for tally_id, added in sorted(by_version.items()):
        changed += _moved(tally_id, added)
    Tally.objects.bulk_create(
        changed,
        batch_size=500,
        update_conflicts=True,
        unique_fields=["version", "minute"],
        update_fields=["good_sum", "bad_sum", "unknown_sum", "minutes_sum"],
    )


def _moved(tally_id: int, added: Mapping[int, Counts]) -> list[Tally]:
    """Return the rows from the first minute that changes on, with their new sums."""
    first = min(added)
    tallies = Tally.objects.filter(version_id=tally_id)
    before = tallies.filter(minute__lt=first).order_by("-minute").first()
    rows = {row.minute: row for row in tallies.filter(minute__gte=first)}
    sums = _counts(before) if before else Counts()
    old = sums
    moved = []
    for minute in sorted({*rows, *added}):
        row = rows.get(minute)
        more = added.get(minute, Counts())
        grown = _counts(row) - old if row else Counts(minutes_measured=1)
        old = _counts(row) if row else old
        sums = Counts(
            sums.good + grown.good + more.good,
            sums.bad + grown.bad + more.bad,
            sums.unknown + grown.unknown + more.unknown,
            sums.minutes_measured + grown.minutes_measured,
        )
        if row is None or _counts(row) != sums:
            moved.append(
                Tally(
                    version_id=tally_id,
                    minute=minute,
                    good_sum=sums.good,
                    bad_sum=sums.bad,
                    unknown_sum=sums.unknown,
                    minutes_sum=sums.minutes_measured,
                )
            )
    return moved


def _counts(row: Tally) -> Counts:
    return Counts(row.good_sum, row.bad_sum, row.unknown_sum, row.minutes_sum)
