"""Error-budget policies: states by what is left of a budget, entered and left at different points (hysteresis).

A state is entered when it is certain that less than `enter_below` is left, and left when it is certain that more than
`leave_above` is: what is unknown moves nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reliability.domain.budgets import Interval


@dataclass(frozen=True)
class PolicyState:
    """What holds while so little of the budget is left: which actions are denied, and what people are to do."""

    name: str
    enter_below: float | None = None
    leave_above: float | None = None
    deny: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """States from the best to the worst; the first one needs no threshold. `deny_while_firing`: actions."""

    name: str
    states: tuple[PolicyState, ...]
    deny_while_firing: tuple[str, ...] = ()
    applies_to: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def state(self, name: str) -> PolicyState:
        """Return a state by name; the best one where the policy no longer knows the name."""
        return next((one for one in self.states if one.name == name), self.states[0])

    def applies(self, *, slo: str, service: str, tier: int) -> bool:
        """Say whether the policy is for an SLO; without a selection it is for all."""
        wanted = self.applies_to
        return (
            (not wanted.get("slos") or slo in wanted["slos"])
            and (not wanted.get("services") or service in wanted["services"])
            and (not wanted.get("tiers") or tier in wanted["tiers"])
        )

    @property
    def specificity(self) -> int:
        """How narrowly the policy selects: the narrowest one that applies decides."""
        return sum(weight for key, weight in (("slos", 4), ("services", 2), ("tiers", 1)) if self.applies_to.get(key))


BUILT_IN = Policy(
    "built-in",
    (
        PolicyState("healthy"),
        PolicyState("exhausted", enter_below=0.0, leave_above=0.05, deny=("deploy", "chaos")),
    ),
    deny_while_firing=("deploy", "chaos"),
)


def next_state(policy: Policy, current: str, remaining: Interval | None) -> PolicyState:
    """Return the state after a measurement; without one it stays."""
    known = policy.state(current)
    if remaining is None:
        return known
    position = policy.states.index(known)
    for worse in range(len(policy.states) - 1, position, -1):
        threshold = policy.states[worse].enter_below
        if threshold is not None and (remaining.high < threshold or (threshold == 0 and remaining.high <= 0)):
            return policy.states[worse]
    while position > 0:
        threshold = policy.states[position].leave_above
        if threshold is None or remaining.low <= threshold:
            break
        position -= 1
    return policy.states[position]


def policy_for(policies: Sequence[Policy], *, slo: str, service: str, tier: int) -> Policy:
    """Return the policy that decides for an SLO: the narrowest, then the first by name; else the built-in one."""
    found = [one for one in policies if one.applies(slo=slo, service=service, tier=tier)]
    return min(found, key=lambda one: (-one.specificity, one.name)) if found else BUILT_IN
