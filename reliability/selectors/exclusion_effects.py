"""What an exclusion changes: budgets as they stand without it and with it, whatever its state."""

from dataclasses import dataclass

from core.clock import database_now
from reliability.data import BudgetStatus
from reliability.models import SLO, Exclusion
from reliability.selectors.budgets import detailed_statuses, slos_for_service
from reliability.selectors.exclusions import Assumed


@dataclass(frozen=True)
class Effect:
    """A promise as it stands without and with the exclusion."""

    slo: SLO
    before: BudgetStatus
    after: BudgetStatus

    @property
    def taken(self) -> int:
        """How many bad events no longer count."""
        return self.before.counts.bad - self.after.counts.bad


def exclusion_effects(*, exclusion: Exclusion) -> list[Effect]:
    """Return the promises now in force without and with an exclusion, which need not be stored."""
    if exclusion.slo is not None:
        slos = [exclusion.slo]
    else:
        slos = list(slos_for_service(service_id=exclusion.service_id or 0))
    now = database_now()
    known = frozenset({exclusion.pk} if exclusion.pk else ())
    replaced = frozenset({exclusion.replaces_id} if exclusion.replaces_id else ())
    without = detailed_statuses(slos, now=now, assumed=Assumed(dropped=known))
    including = detailed_statuses(slos, now=now, assumed=Assumed((exclusion,), known | replaced))
    by_slug = {slo.slug: slo for slo in slos}
    return [
        Effect(by_slug[before.slo_slug], before, after)
        for before, after in zip(without, including, strict=True)
        if before.slo_slug in by_slug and not before.labels
    ]
