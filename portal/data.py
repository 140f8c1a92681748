"""What the pages that gather several rooms show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.drawings import Graph, TimeAxis
from core.states import Tone
from portal.links import page

SERVICES_SHOWN = 40


@dataclass(frozen=True)
class Line:
    """One line of a card: what it is, where it leads, since or until when, and what has caused it."""

    title: str
    url: str = ""
    detail: str = ""
    state: str = ""
    tone: Tone | None = None
    at: datetime | None = None
    cause: str = ""
    cause_url: str = ""


@dataclass(frozen=True)
class ServiceLine:
    """A service with its worst state."""

    slug: str
    name: str
    state: str
    tone: Tone
    tier: int
    team: str
    environment: str
    incidents: int

    @property
    def url(self) -> str:
        """The service's page."""
        return page("portal:service_detail", self.slug)


@dataclass(frozen=True)
class BudgetLine:
    """An SLO with what is left of its budget, from `low` to `high`; None is not known."""

    name: str
    url: str
    service: str
    state: str
    low: float | None
    high: float | None
    target: float | None
    service_id: int
    sli_low: float | None = None
    sli_high: float | None = None
    exhausts_at: datetime | None = None
    burn_rate: float | None = None

    @property
    def spent(self) -> float | None:
        """How many budgets are spent: 1 is the whole budget, 2 twice as much as was allowed."""
        return None if self.low is None else 1 - self.low


@dataclass(frozen=True)
class Now:
    """The home page: what needs the reader, and what is on fire."""

    mine: Sequence[Line] = ()
    incidents: Sequence[Line] = ()
    incident_count: int = 0
    services: Sequence[ServiceLine] = ()
    budgets: Sequence[BudgetLine] = ()
    budget_count: int = 0
    experiments: Sequence[Line] = ()
    evidence: Sequence[Line] = ()
    engagements: Sequence[Line] = ()
    requests: Sequence[Line] = ()
    shows: frozenset[str] = field(default_factory=frozenset)

    @property
    def worst_services(self) -> Sequence[ServiceLine]:
        """The services that the page has room for; the list has all."""
        return self.services[:SERVICES_SHOWN]

    @property
    def counts(self) -> dict[str, int]:
        """How many services stand in each tone."""
        found: dict[str, int] = {}
        for service in self.services:
            found[service.tone.value] = found.get(service.tone.value, 0) + 1
        return found


@dataclass(frozen=True)
class ServicePage:
    """A service with everything that several rooms know of it."""

    state: str
    tone: Tone
    facts: Sequence[tuple[str, object]]
    on_call: Sequence[Line]
    budgets: Sequence[BudgetLine]
    incidents: Sequence[Line]
    graph: Graph
    graph_is_whole: bool
    axis: TimeAxis
    runbooks: Sequence[Line]
    deployments: Sequence[Line]
    follow_ups: Sequence[Line]


@dataclass(frozen=True)
class AuditFilters:
    """What the reader of the audit log asks for; empty parts do not narrow."""

    who: str = ""
    kind: str = ""
    about: str = ""
    words: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class AuditLine:
    """An entry of the ledger in words: who did what to whom, with what, from where."""

    entry: Any
    who: str
    did: str
    whom: str
    details: str
    outcome: str
    origin: str
    erased: bool
