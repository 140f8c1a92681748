"""Count made-up events for many SLOs at once: for sites made to be measured."""

from collections.abc import Sequence

from reliability.domain.budgets import Counts
from reliability.models import SLO
from reliability.selectors.budgets import budget_statuses
from reliability.services.policies import keep_figures
from reliability.services.tallying import add_to_tallies


def add_generated_counts(*, version_ids: Sequence[int], minutes: Sequence[int], seed: int) -> None:
    """Count some events of each version in each of these minutes, in the caller's transaction; oldest minute first."""
    for minute in sorted(minutes):
        add_to_tallies(
            {
                (key, minute): Counts(good=900 + (key * 7 + minute + seed) % 100, bad=(key + minute * 3 + seed) % 9)
                for key in version_ids
            }
        )


def keep_generated_figures() -> None:
    """Keep how all SLOs stand, as the recurring job does, but for the states of their policies, which it records."""
    keep_figures(budget_statuses(SLO.objects.filter(part_of__isnull=True)))
