"""How much a run may hurt: counts, shares with their rounding shown, what must stay healthy, caps by tier, budgets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

# The more a service matters, the fewer of its targets may be hurt at once, whatever an experiment says.
MOST_TARGETS_OF_TIER: Mapping[int, int] = {1: 5, 2: 10, 3: 25, 4: 50}
MOST_SHARE_OF_TIER: Mapping[int, int] = {1: 70, 2: 80, 3: 100, 4: 100}


@dataclass(frozen=True)
class Radius:
    """What an experiment allows."""

    max_targets: int
    max_share_percent: int
    min_healthy: int = 0


def radius_problem(radius: Radius, *, hurt: int, matched: int, tier: int) -> str:
    """Return why so many of those that match may not be hurt, or an empty text.

    The share is compared unrounded; a selector that means a single target has no share to keep.
    """
    said = f"{hurt} of {matched} targets ({100 * hurt / matched if matched else 0:.1f} %)"
    rounded = radius.max_share_percent * matched // 100
    most, share = MOST_TARGETS_OF_TIER[tier], MOST_SHARE_OF_TIER[tier]
    checks = (
        (hurt == 0, "no target matches"),
        (hurt > radius.max_targets, f"{said}; allowed are {radius.max_targets}"),
        (
            100 * hurt > radius.max_share_percent * matched,
            f"{said}; allowed are {radius.max_share_percent} %: {rounded} of {matched}",
        ),
        (matched - hurt < radius.min_healthy, f"{said}; {radius.min_healthy} must stay healthy"),
        (hurt > most, f"{said}; for tier {tier} never more than {most}"),
        (matched > 1 and 100 * hurt > share * matched, f"{said}; for tier {tier} never more than {share} %"),
    )
    return next((problem for holds, problem in checks if holds), "")


@dataclass(frozen=True)
class BudgetRule:
    """What must be left of an error budget, what a run is expected to spend, and where it stops; in percent of it."""

    at_least: float | None = None
    reserve: float = 0.0
    cap: float | None = None


def budget_problem(rule: BudgetRule, *, left: float, reserved_by_others: float) -> str:
    """Return why a run may not start with this much of the budget left, or an empty text."""
    if rule.at_least is not None and left < rule.at_least:
        return f"{left:.1f} % is left; at least {rule.at_least:g} % must be"
    if rule.reserve and left - reserved_by_others < rule.reserve:
        others = f"of which other runs reserve {reserved_by_others:g} %"
        return f"{left:.1f} % is left, {others}; this one needs {rule.reserve:g} %"
    return ""


def cap_problem(rule: BudgetRule, *, left_at_start: float | None, left: float) -> str:
    """Return why a run must stop: it has spent more than its cap."""
    if rule.cap is None:
        return ""
    if left_at_start is None:
        return "what was left at the start is not known"
    spent = left_at_start - left
    if spent <= rule.cap:
        return ""
    return f"{spent:.1f} % of the budget is spent since the start; the cap is {rule.cap:g} %"


def target_problem(target: str, *, allow: Iterable[str], never: Iterable[str]) -> str:
    """Return why a target, written `kind:name`, may not be hurt, or an empty text. What is never allowed wins."""
    if (pattern := _matching(target, never)) is not None:
        return f"{target} is never to be hurt ({pattern})"
    if _matching(target, allow) is None:
        return f"{target} is not on the list of targets that may be hurt"
    return ""


def _matching(target: str, patterns: Iterable[str]) -> str | None:
    return next((pattern for pattern in patterns if fnmatchcase(target, pattern)), None)


def near(slugs: Iterable[str], dependencies: Iterable[tuple[str, str]]) -> set[str]:
    """Return services with all that they need and all that need them, through others too."""
    edges = list(dependencies)
    found = set(slugs)
    for upwards in (True, False):
        front = set(slugs)
        while front:
            reached = {
                (consumer if upwards else provider)
                for consumer, provider in edges
                if (provider if upwards else consumer) in front
            }
            front = reached - found
            found |= front
    return found
