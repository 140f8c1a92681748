"""Production readiness of services, from the ledger; and who collects the evidence."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from django.db.models import Count, Q, Sum

from catalog.selectors import open_action_items
from compliance.data import Cadence, Outcome, Window
from compliance.domain.rules import Fact, Rule
from compliance.domain.scorecards import (
    Item,
    Phase,
    PhaseResult,
    Shown,
    Verdict,
    by_phase,
    is_about,
    judge_item,
    reached_phase,
)
from compliance.models import Check, Occurrence, OccurrenceDay, ScorecardWaiver
from core.parsing import load_yaml_documents
from ledger.selectors import entries

FILE = Path(__file__).resolve().parent.parent / "data_files" / "scorecard.yaml"
# Of each kind of entry the newest are read; a service that shows something only in older ones shows it no more.
NEWEST = 2_000
FOLLOW_UPS = "follow-ups-done"
# Kinds of entry that exist only because a person sat down to make them.
BY_HAND = ("evidence.", "policy.", "vendor.", "access.", "risk.assessed", "risk.accepted")


@dataclass(frozen=True)
class Scorecard:
    """A service with its phases."""

    service: Any
    phases: Sequence[PhaseResult]
    reached: Phase | None

    @property
    def shown(self) -> int:
        """How many items are shown."""
        return sum(one.shown for one in self.phases)

    @property
    def total(self) -> int:
        """How many items there are."""
        return sum(len(one.items) for one in self.phases)


@cache
def scorecard_items() -> tuple[Item, ...]:
    """Return what services have to show."""
    ((data, _),) = load_yaml_documents(FILE.read_bytes(), source=FILE.name)
    return tuple(Item.model_validate(one) for one in data["items"])


def scorecards(services: Iterable[Any], *, now: datetime) -> list[Scorecard]:
    """Return the scorecard of each service, in a fixed number of queries."""
    wanted, items = list(services), scorecard_items()
    facts = _facts(sorted({name for item in items for name in item.entries}), now=now)
    waived: dict[int, set[str]] = defaultdict(set)
    for one in ScorecardWaiver.objects.filter(approved_at__isnull=False, expires_at__gt=now):
        waived[one.service_id].add(one.item)
    late: dict[int, int] = defaultdict(int)
    for todo in open_action_items():
        if todo.service_id is not None and todo.due_on is not None and todo.due_on < now.date():
            late[todo.service_id] += 1
    found = []
    for service in wanted:
        about = [fact for fact in facts if is_about(fact, service.slug)]
        shown = [
            _item(item, about, now=now, waived=item.name in waived[service.pk], late=late[service.pk])
            for item in items
            if not item.for_tiers or service.tier in item.for_tiers
        ]
        phases = by_phase(shown)
        found.append(Scorecard(service, phases, reached_phase(phases)))
    return found


def _item(item: Item, about: Sequence[Fact], *, now: datetime, waived: bool, late: int) -> Shown:
    if item.name != FOLLOW_UPS:
        return judge_item(item, about, now=now, waived=waived)
    if not late:
        return Shown(item, Verdict.SHOWN, "")
    return Shown(item, Verdict.WAIVED if waived else Verdict.FAILED, f"{late} overdue")


def _facts(types: Sequence[str], *, now: datetime) -> list[Fact]:
    found = []
    for name in types:
        for entry in entries(types=[name], since=now - timedelta(days=800), until=now).order_by("-occurred_at")[
            :NEWEST
        ]:
            payload = entry.payload
            if payload is not None:
                found.append(Fact(entry.pk, name, entry.occurred_at, entry.actor, entry.subject, payload))
    return sorted(found, key=lambda fact: fact.occurred_at, reverse=True)


@dataclass(frozen=True)
class Share:
    """How many of the evidence items that were due came from operations, from people, or not at all."""

    due: int
    by_operations: int
    by_hand: int

    @property
    def missing(self) -> int:
        """How many did not come."""
        return self.due - self.by_operations - self.by_hand

    @property
    def ratio(self) -> float | None:
        """The share of what came that operations collected; None when nothing came."""
        came = self.by_operations + self.by_hand
        return self.by_operations / came if came else None


def is_by_hand(rule: Rule) -> bool:
    """Say whether a check lives on what people type."""
    return all(name.startswith(BY_HAND) for name in rule.entries)


def evidence_share(*, window: Window) -> Share:
    """Count the occurrences that were due in a window by who collected what they rest on."""
    checks = {one.pk: one for one in Check.objects.filter(retired_at__isnull=True, control__retired_at__isnull=True)}
    hand = {pk for pk, one in checks.items() if is_by_hand(Rule.model_validate(one.rule))}
    events = [pk for pk, one in checks.items() if one.cadence == Cadence.EVENT]
    due: dict[int, int] = defaultdict(int)
    came: dict[int, int] = defaultdict(int)
    days = OccurrenceDay.objects.filter(
        check_run__in=events, day__gte=window.start.date(), day__lte=window.end.date()
    ).order_by()
    for pk, count in days.values_list("check_run").annotate(Sum("due")):
        # What happened is there by itself: each entry is its own evidence, passed or not.
        due[pk] += count
        came[pk] += count
    rows = Occurrence.objects.filter(
        ~Q(outcome=Outcome.PENDING),
        check_run__in=[pk for pk in checks if pk not in events],
        due_at__gte=window.start,
        due_at__lt=window.end,
    ).order_by()
    for pk, count, missed in rows.values_list("check_run").annotate(
        n=Count("pk"), missed=Count("pk", filter=Q(outcome=Outcome.MISSED))
    ):
        due[pk] += count
        came[pk] += count - missed
    by_hand = sum(count for pk, count in came.items() if pk in hand)
    return Share(sum(due.values()), sum(came.values()) - by_hand, by_hand)
