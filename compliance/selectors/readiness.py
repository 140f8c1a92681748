"""What falls due, goes stale or fails, and which requirements that will break."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Max

from compliance.data import Cadence, ComingDue, Outcome, Strength
from compliance.domain.periods import period_at
from compliance.domain.rules import Rule
from compliance.models import Check, Control, ControlRequirement, Occurrence


def coming_due(controls: Iterable[Control], *, now: datetime, days: int = 30) -> list[ComingDue]:
    """Return what falls due or goes stale within the days and has not happened yet, the next first."""
    by_key = {control.pk: control for control in controls}
    checks = Check.objects.filter(control__in=by_key, retired_at__isnull=True).exclude(
        cadence__in=(Cadence.EVENT, Cadence.DAILY)
    )
    good = Occurrence.objects.filter(check_run__in=checks, outcome=Outcome.PASSED)
    done = set(good.values_list("check_run_id", "key"))
    newest = dict(good.order_by().values_list("check_run_id").annotate(Max("happened_at")))
    served = served_requirements(by_key)
    horizon = now + timedelta(days=days)
    found = []
    for check in checks:
        period = period_at(Cadence(check.cadence), now)
        fresh = Rule.model_validate(check.rule).fresh_days
        last = newest.get(check.pk)
        stale_at = last + timedelta(days=fresh) if last and fresh else None
        due = None if (check.pk, period.key) in done else period.end
        moments = [(moment, kind) for moment, kind in ((due, "due"), (stale_at, "stale")) if moment]
        if not moments or (first := min(moments))[0] > horizon:
            continue
        control = by_key[check.control_id]
        refs = served[control.pk] if check.strength != Strength.SUPPORTING else []
        found.append(ComingDue(control.slug, control.title, control.owner, check.title, first[0], refs, first[1], last))
    return sorted(found, key=lambda one: one.due_at)


def served_requirements(keys: Iterable[int]) -> dict[int, list[str]]:
    """Return the identifiers of the requirements that each control serves directly or partially."""
    served: dict[int, list[str]] = defaultdict(list)
    links = ControlRequirement.objects.filter(control__in=list(keys), requirement__retired_at__isnull=True)
    for link in links.select_related("requirement").order_by("requirement__framework", "requirement__position"):
        if link.strength != Strength.SUPPORTING:
            served[link.control_id].append(link.requirement.ref)
    return served
