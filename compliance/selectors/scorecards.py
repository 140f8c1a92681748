"""Production readiness of services, from the ledger; and who collects the evidence."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
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
    judge_item,
    reached_phase,
    services_of,
)
from compliance.models import Check, LogReading, Occurrence, OccurrenceDay, ScorecardMark, ScorecardWaiver
from core.parsing import load_yaml_documents
from ledger.selectors import entries

FILE = Path(__file__).resolve().parent.parent / "data_files" / "scorecard.yaml"
# Of what the checks have not read yet, this much is read for a page.
UNREAD = 2_000
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
def scorecard_digest() -> str:
    """Return the digest of what services have to show: another one, and the log is read for it again."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


@cache
def scorecard_items() -> tuple[Item, ...]:
    """Return what services have to show."""
    ((data, _),) = load_yaml_documents(FILE.read_bytes(), source=FILE.name)
    return tuple(Item.model_validate(one) for one in data["items"])


def scorecards(services: Iterable[Any], *, now: datetime) -> list[Scorecard]:
    """Return the scorecard of each service, in a fixed number of queries."""
    wanted, items = list(services), scorecard_items()
    about = _facts_by_service({one.slug for one in wanted}, items, now=now)
    waived: dict[int, set[str]] = defaultdict(set)
    for one in ScorecardWaiver.objects.filter(approved_at__isnull=False, expires_at__gt=now):
        waived[one.service_id].add(one.item)
    late: dict[int, int] = defaultdict(int)
    for todo in open_action_items():
        if todo.service_id is not None and todo.due_on is not None and todo.due_on < now.date():
            late[todo.service_id] += 1
    found = []
    for service in wanted:
        shown = [
            _item(item, about[service.slug], now=now, waived=item.name in waived[service.pk], late=late[service.pk])
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


def _facts_by_service(services: set[str], items: Sequence[Item], *, now: datetime) -> dict[str, list[Fact]]:
    """Return the entries that decide each service's scorecard, newest first.

    They are those that the checks have marked while they read the log, and what they have not read yet.
    """
    keys: set[int] = set()
    marks = ScorecardMark.objects.filter(service__in=services).values_list("newest_entry", "shown_entry")
    for newest, shown in marks:
        keys |= {newest} if shown is None else {newest, shown}
    reading = LogReading.objects.filter(pk=1).first()
    types = {name for item in items for name in item.entries}
    current = reading is not None and reading.cards_digest == scorecard_digest()
    unread = entries(types=types).filter(pk__gt=reading.last_entry if reading and current else 0).order_by("-pk")
    found: dict[str, list[Fact]] = defaultdict(list)
    seen: set[int] = set()
    fields = ("pk", "entry_type", "occurred_at", "actor", "subject", "content__body", "content__erased_at")
    marked = entries().filter(pk__in=keys).order_by()
    for rows in (marked.values_list(*fields), unread.values_list(*fields)[:UNREAD]):
        for pk, name, at, actor, subject, body, erased_at in rows:
            if erased_at is not None or body is None or at > now or pk in seen:
                continue
            seen.add(pk)
            fact = Fact(pk, name, at, actor, subject, orjson.loads(bytes(body)))
            for service in services_of(fact) & services:
                found[service].append(fact)
    for facts in found.values():
        facts.sort(key=lambda fact: (fact.occurred_at, fact.entry), reverse=True)
    return defaultdict(list, found)


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
