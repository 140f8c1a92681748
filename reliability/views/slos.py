"""The list of SLOs."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.data import Capability
from accounts.services import principal_of
from catalog.selectors import services_visible
from core import formatting
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, Grouping, RecordListView, Subtotal
from core.states import tone_of
from core.templatetags.assay import budget_bar, sparkline
from reliability.data import BudgetState, BudgetStatus
from reliability.models import SLO
from reliability.navigation import may_view
from reliability.selectors import are_many, budget_statuses, figures_as_of, slos_visible
from reliability.selectors.budgets import versions_in_force
from reliability.selectors.history import burn_sparklines
from reliability.selectors.looking import one_look

Choices = list[tuple[str, str]]
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


def _team_name(name: str | None) -> str:
    return name or "no team"


def _tier_name(tier: int) -> str:
    return f"Tier {tier}"


def _subtotals(counts: Mapping[str, int], left: float | None) -> list[Subtotal]:
    worst_first = sorted(BudgetState, key=lambda one: tone_of(one.value).badness, reverse=True)
    found = [
        Subtotal(f"{counts[state.value]} {state.value.lower()}", TONES.get(state.value, "unknown"))
        for state in worst_first
        if counts.get(state.value)
    ]
    return found if left is None else [*found, Subtotal(f"least left {formatting.written_ratio(left, digits=1)}")]


def _numbered(tiers: Iterable[int]) -> Choices:
    return [(str(tier), str(tier)) for tier in tiers]


def _in_state(rows: Any, chosen: list[str]) -> Any:
    if not isinstance(rows, QuerySet):
        return [row for row in rows if row.state in chosen]
    condition = Q(figures__state__in=chosen)
    return rows.filter(condition | Q(figures=None) if BudgetState.UNKNOWN in chosen else condition)


def _of(field: str) -> Callable[[Any, list[str]], Any]:
    """Return what keeps the rows whose SLO has one of the chosen values, of a queryset or a list."""

    def apply(rows: Any, chosen: list[str]) -> Any:
        if isinstance(rows, QuerySet):
            return rows.filter(**{f"{field}__in": chosen})
        return [row for row in rows if str(_value(row.slo, field)) in chosen]

    return apply


def _value(found: Any, field: str) -> Any:
    for name in field.split("__"):
        found = getattr(found, name, None)
    return found


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
            order_by=("name",),
            sort_key=lambda row: row.slo.name.lower(),
            href=lambda row: reverse("reliability:slo_detail", args=[row.slo.slug]),
        ),
        Column(
            "state",
            "State",
            lambda row: row.state,
            kind="state",
            order_by=("figures__state",),
            sort_key=lambda row: row.state,
        ),
        Column(
            "service",
            "Service",
            lambda row: row.slo.service.name,
            order_by=("service__name",),
            sort_key=lambda row: row.slo.service.name,
        ),
        Column(
            "team",
            "Team",
            lambda row: row.slo.service.team.name if row.slo.service.team else None,
            order_by=("service__team__name",),
            sort_key=lambda row: row.team,
            shown=False,
        ),
        Column(
            "tier",
            "Tier",
            lambda row: row.slo.service.tier,
            kind="number",
            order_by=("service__tier",),
            sort_key=lambda row: row.slo.service.tier,
        ),
        Column("target", "Target", lambda row: row.status.target if row.status else None, kind="ratio"),
        Column("sli", "SLI", lambda row: row.sli),
        Column(
            "left",
            "Budget left",
            lambda row: row.left,
            render=_left_bar,
            order_by=("figures__remaining_low",),
            sort_key=lambda row: row.left,
        ),
        Column(
            "exhausts",
            "Spent in",
            lambda row: row.days_to_exhaustion,
            render=_exhaustion,
            order_by=("figures__days_left",),
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
            order_by=("figures__coverage",),
            sort_key=lambda row: row.status.coverage_ratio if row.status else None,
            wide_only=True,
        ),
    )
    search_fields = ("name", "slug", "service__name", "service__slug")
    default_sort = "exhausts"
    saves_views = True
    groupings = (
        Grouping("service", "Service", lambda row: row.slo.service.name, field="service__name"),
        Grouping(
            "team",
            "Team",
            lambda row: _team_name(row.slo.service.team.name if row.slo.service.team else None),
            field="service__team__name",
            written=_team_name,
        ),
        Grouping(
            "tier", "Tier", lambda row: _tier_name(row.slo.service.tier), field="service__tier", written=_tier_name
        ),
    )

    def get_filters(self) -> list[Filter]:
        tiers, teams, services = self._choices
        return [
            Filter("state", "State", [(one.value, one.value.capitalize()) for one in BudgetState], apply=_in_state),
            Filter("tier", "Tier", tiers, apply=_of("service__tier")),
            Filter("team", "Team", teams, apply=_of("service__team__slug")),
            Filter("service", "Service", services, apply=_of("service__slug")),
        ]

    @cached_property
    def _choices(self) -> tuple[Choices, Choices, Choices]:
        """Tiers, teams and services to filter by.

        The services of very many SLOs are found by the search; those in the address still narrow the list.
        """
        if self._many:
            services = services_visible(viewer=principal_of(self.request)).filter(slos__isnull=False)
            numbers = services.order_by("tier").values_list("tier", flat=True).distinct()
            teams = services.filter(team__isnull=False).order_by("team__name")
            named = [(one, one) for one in self.request.GET.getlist("service")]
            return _numbered(numbers), list(teams.values_list("team__slug", "team__name").distinct()), named
        found = {slo.service.slug: slo.service for slo in self._slos}
        owners = {one.team.slug: one.team.name for one in found.values() if one.team}
        return (
            _numbered(sorted({one.tier for one in found.values()})),
            sorted(owners.items(), key=lambda one: one[1].lower()),
            sorted(((slug, one.name) for slug, one in found.items()), key=lambda one: one[1].lower()),
        )

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

    def get_records(self) -> Any:
        if not self._many:
            return self.shown_as(list(self._slos))
        return self._slos.select_related("service__team", "figures")

    def shown_as(self, records: Sequence[Any]) -> list[Any]:
        """Reckon the rows that are shown; of many, the others are only sorted and filtered by what is kept of them."""
        if records and isinstance(records[0], SLORow):
            return list(records)
        now, slos = database_now(), list(records)
        with one_look():
            statuses = budget_statuses(slos, now=now)
            burn = burn_sparklines(versions=versions_in_force(slos=slos), now=now)
        return [SLORow(slo, statuses.get(slo.pk), burn.get(slo.pk, [])) for slo in slos]

    def extra_context(self) -> dict[str, Any]:
        if not self._many:
            return {}
        said = "Sorted and filtered by how they stood {}; what is shown is as of now."
        as_of = figures_as_of()
        when = formatting.time_element(as_of, now=timezone.now()) if as_of else "never: no scheduler has run"
        return {"below_table": format_html(said, when)}

    @cached_property
    def _slos(self) -> QuerySet[SLO]:
        return slos_visible(viewer=principal_of(self.request))

    @cached_property
    def _many(self) -> bool:
        return are_many(self._slos)

    def subtotals(self, records: Sequence[SLORow]) -> list[Subtotal]:
        """How many promises of a group stand how, the worst first, and the least that is left of a budget."""
        left = [row.left for row in records if row.left is not None]
        return _subtotals(Counter(row.state for row in records), min(left, default=None))

    def figures(self, records: QuerySet[SLO], field: str) -> dict[Any, list[Subtotal]]:
        """Return the same of very many, by how they stood when all were last reckoned."""
        counts: dict[Any, Counter[str]] = {}
        left: dict[Any, float] = {}
        of_states = records.values_list(field, "figures__state")
        for group, state, count, least in of_states.annotate(count=Count("pk"), least=Min("figures__remaining_low")):
            counts.setdefault(group, Counter())[state or BudgetState.UNKNOWN.value] += count
            if least is not None:
                left[group] = min(least, left.get(group, least))
        return {group: _subtotals(counts[group], left.get(group)) for group in counts}

    def row_tone(self, record: SLORow) -> str:
        return TONES.get(record.state, "unknown") if record.state != "OK" else ""
