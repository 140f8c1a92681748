"""The list of SLOs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.data import Capability
from accounts.services import principal_of
from core import formatting
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, Grouping, RecordListView, Subtotal
from core.states import tone_of
from core.templatetags.assay import budget_bar, sparkline
from reliability.data import BudgetState, BudgetStatus
from reliability.models import SLO
from reliability.navigation import may_view
from reliability.selectors import recent_statuses, slos_visible
from reliability.selectors.budgets import countable_versions
from reliability.selectors.history import burn_sparklines

TONES = {"BREACHED": "bad", "AT RISK": "risk", "OK": "ok"}


@dataclass(frozen=True)
class SLORow:
    """A line of the list."""

    slo: SLO
    status: BudgetStatus | None
    burn: list[float | None]

    @property
    def team(self) -> str:
        """The team that owns the service, for sorting."""
        return self.slo.service.team.name.lower() if self.slo.service.team else ""

    @property
    def state(self) -> str:
        """The state as a word."""
        return self.status.state.value if self.status else BudgetState.UNKNOWN.value

    @property
    def days_to_exhaustion(self) -> float | None:
        """Days until the budget is spent at the last hour's rate; None when it is not being spent."""
        if self.status is None:
            return None
        if self.status.remaining is not None and self.status.remaining.high <= 0:
            return 0.0
        if self.status.exhausts_in is None:
            return None
        return self.status.exhausts_in / timedelta(days=1)

    @property
    def sli(self) -> str:
        """The SLI, as an interval where something is unknown."""
        status = self.status
        if status is None or status.sli is None:
            return "no traffic" if status and status.measured_recently else "not measured"
        return formatting.written_interval(status.sli.low, status.sli.high)

    @property
    def left(self) -> float | None:
        """What is left of the budget at least."""
        return self.status.remaining.low if self.status and self.status.remaining else None


def _left_bar(row: SLORow) -> str | SafeString:
    status = row.status
    if status is None or status.remaining is None:
        return row.sli
    bar = budget_bar(status.remaining.low, status.remaining.high, tone=TONES.get(row.state, "unknown"))
    return format_html('{} <span class="num">{}</span>', bar, formatting.written_ratio(status.remaining.low, digits=1))


def _exhaustion(row: SLORow) -> str:
    if row.status is None or row.status.remaining is None:
        return formatting.MISSING
    if row.status.remaining.high <= 0:
        return "spent"
    return formatting.written_duration(row.status.exhausts_in) if row.status.exhausts_in is not None else "not burning"


class SLOListView(RecordListView):
    """Every SLO that the reader may see, the promise that breaks first at the top."""

    title = "SLOs"
    intro = "Which promise breaks first, at the rate of the last hour."
    noun = "SLOs"
    columns = (
        Column(
            "name",
            "SLO",
            lambda row: row.slo.name,
            kind="strong",
            sort_key=lambda row: row.slo.name.lower(),
            href=lambda row: reverse("reliability:slo_detail", args=[row.slo.slug]),
        ),
        Column("state", "State", lambda row: row.state, kind="state", sort_key=lambda row: row.state),
        Column("service", "Service", lambda row: row.slo.service.name, sort_key=lambda row: row.slo.service.name),
        Column(
            "team",
            "Team",
            lambda row: row.slo.service.team.name if row.slo.service.team else None,
            sort_key=lambda row: row.team,
            shown=False,
        ),
        Column(
            "tier", "Tier", lambda row: row.slo.service.tier, kind="number", sort_key=lambda row: row.slo.service.tier
        ),
        Column("target", "Target", lambda row: row.status.target if row.status else None, kind="ratio"),
        Column("sli", "SLI", lambda row: row.sli),
        Column("left", "Budget left", lambda row: row.left, render=_left_bar, sort_key=lambda row: row.left),
        Column(
            "exhausts",
            "Spent in",
            lambda row: row.days_to_exhaustion,
            render=_exhaustion,
            sort_key=lambda row: row.days_to_exhaustion,
        ),
        Column(
            "burn",
            "Burn, 24 h",
            lambda row: row.status.burn_1h.high if row.status and row.status.burn_1h else None,
            render=lambda row: sparkline(row.burn, "Burn rate by hour, 24 h", tone=TONES.get(row.state, "plain")),
            wide_only=True,
        ),
        Column(
            "coverage",
            "Measured",
            lambda row: row.status.coverage_ratio if row.status else None,
            kind="ratio",
            sort_key=lambda row: row.status.coverage_ratio if row.status else None,
            wide_only=True,
        ),
    )
    filters = (
        Filter(
            "state",
            "State",
            [(state.value, state.value.capitalize()) for state in BudgetState],
            apply=lambda rows, chosen: [row for row in rows if row.state in chosen],
        ),
    )
    default_sort = "exhausts"
    saves_views = True
    groupings = (
        Grouping("service", "Service", lambda row: row.slo.service.name),
        Grouping("team", "Team", lambda row: row.slo.service.team.name if row.slo.service.team else "no team"),
        Grouping("tier", "Tier", lambda row: f"Tier {row.slo.service.tier}"),
    )

    def get_filters(self) -> list[Filter]:
        services = {row.slo.service.slug: row.slo.service for row in self._rows}
        teams = {one.team.slug: one.team.name for one in services.values() if one.team}
        return [
            *self.filters,
            Filter(
                "tier",
                "Tier",
                [(str(tier), str(tier)) for tier in sorted({one.tier for one in services.values()})],
                apply=lambda rows, chosen: [row for row in rows if str(row.slo.service.tier) in chosen],
            ),
            Filter(
                "team",
                "Team",
                sorted(teams.items(), key=lambda one: one[1].lower()),
                apply=lambda rows, chosen: [
                    row for row in rows if row.slo.service.team and row.slo.service.team.slug in chosen
                ],
            ),
            Filter(
                "service",
                "Service",
                sorted(((slug, one.name) for slug, one in services.items()), key=lambda one: one[1].lower()),
                apply=lambda rows, chosen: [row for row in rows if row.slo.service.slug in chosen],
            ),
        ]

    refresh_seconds = 10
    empty = Empty(
        "No SLO is defined yet. Write one as OpenSLO and apply it.",
        command=".venv/bin/python manage.py slo apply slos.yaml",
    )

    def may_view(self, principal: Any) -> bool:
        return bool(may_view(principal))

    def get_actions(self) -> list[Action]:
        if principal_of(self.request).may_somewhere(Capability.SLO_EDIT):
            return [Action("Start from a pack", reverse("reliability:pack_list"), icon="package", primary=False)]
        return []

    def get_records(self) -> list[SLORow]:
        return self._rows

    @cached_property
    def _rows(self) -> list[SLORow]:
        now = database_now()
        slos = list(slos_visible(viewer=principal_of(self.request)))
        statuses = recent_statuses(slos, now=now)
        burn = burn_sparklines(versions=countable_versions(slos=slos), now=now)
        return [SLORow(slo, statuses.get(slo.pk), burn.get(slo.pk, [])) for slo in slos]

    def subtotals(self, records: Sequence[SLORow]) -> list[Subtotal]:
        """How many promises of a group stand how, the worst first, and the least that is left of a budget."""
        counts = Counter(row.state for row in records)
        found = [
            Subtotal(f"{counts[state.value]} {state.value.lower()}", TONES.get(state.value, "unknown"))
            for state in sorted(BudgetState, key=lambda one: tone_of(one.value).badness, reverse=True)
            if counts[state.value]
        ]
        left = [row.left for row in records if row.left is not None]
        if left:
            found.append(Subtotal(f"least left {formatting.written_ratio(min(left), digits=1)}"))
        return found

    def row_tone(self, record: SLORow) -> str:
        return TONES.get(record.state, "unknown") if record.state != "OK" else ""
