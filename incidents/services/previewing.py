"""What a draft of routes, policies and schedules would have done with the alerts of the last days.

The draft is applied by the very code that applies it for good, in a transaction that is then taken back, so that a
preview cannot differ from what follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import LineIndex, refuse
from incidents.data import OnCallPerson
from incidents.domain.conditions import conditions_from
from incidents.domain.oncall import Shift
from incidents.models import Alert, EscalationPolicy, EscalationStep, Schedule, ScheduleVersion, Silence
from incidents.selectors.oncall import names_of, on_call_now_in, person_as_on_call, shifts_between
from incidents.services.deciding import Decision, Ruleset, decide, load_rules, quiet_of
from incidents.services.documents import apply_documents
from incidents.services.escalation import person_for_conditions

MOST_ALERTS = 300
SHOWN_AHEAD = timedelta(weeks=4)
LONG_AGO = timedelta(days=4000)


@dataclass(frozen=True)
class Outcome:
    """What follows from one alert."""

    text: str
    people: tuple[str, ...]
    pages: bool


@dataclass(frozen=True)
class PreviewRow:
    """One stored alert under what is live and under the draft."""

    alert: Alert
    live: Outcome
    draft: Outcome

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return self.live != self.draft


@dataclass(frozen=True)
class ShiftChange:
    """A coming stretch whose people differ."""

    schedule: str
    starts_at: datetime
    ends_at: datetime
    live: str
    draft: str


@dataclass(frozen=True)
class Preview:
    """The alerts that were looked at, and the coming shifts that change."""

    rows: list[PreviewRow]
    shifts: list[ShiftChange]

    @property
    def changed(self) -> list[PreviewRow]:
        """The alerts for which anything differs."""
        return [row for row in self.rows if row.changed]


def preview_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], days: int = 7, source: str = "draft"
) -> Preview:
    """Return what the documents would change. Raises InputRefusedError as applying them would; nothing is kept."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    if any(isinstance(data, dict) and data.get("kind") == "Integration" for data, _ in documents):
        raise refuse("kind", found="Integration", allowed="routes, policies and schedules can be previewed")
    now = database_now()
    alerts = list(
        Alert.objects.filter(first_received_at__gte=now - timedelta(days=days), is_tombstone=False)
        .select_related("integration")
        .order_by("-pk")[:MOST_ALERTS]
    )
    live_shifts = _coming(now)
    live = _outcomes(alerts, now)
    with transaction.atomic():
        known = set(ScheduleVersion.objects.values_list("pk", flat=True))
        apply_documents(principal=principal, documents=documents, source=source)
        draft_shifts = _coming(now)
        _pretend_always(known, now)
        draft = _outcomes(alerts, now)
        transaction.set_rollback(True)
    rows = [PreviewRow(*row) for row in zip(alerts, live, draft, strict=True)]
    return Preview(rows, _differences(live_shifts, draft_shifts))


def first_paged(policy: EscalationPolicy | None, *, severity: str, at: datetime) -> tuple[list[OnCallPerson], str]:
    """Return whom the first step that finds somebody pages at an instant, and why; nobody with the reason."""
    if policy is None:
        return [], "no escalation policy belongs to the route"
    said = []
    for number, step in enumerate(policy.steps.select_related("schedule").order_by("position"), 1):
        people, why = _people_of(step, severity, at)
        if people:
            return people, f"step {number} of {policy.slug}: {why}"
        said.append(f"step {number}: {why}")
    return [], "; ".join(said) or f"{policy.slug} has no steps"


def _people_of(step: EscalationStep, severity: str, at: datetime) -> tuple[list[OnCallPerson], str]:
    conditions = conditions_from(step.conditions)
    if refused := conditions.refuses_severity(severity):
        return [], refused
    if step.user_id is not None:
        person = person_as_on_call(user_id=step.user_id, why="named in the policy")
        found = [person] if person else []
    else:
        found = on_call_now_in(schedule=step.schedule, at=at) if step.schedule else []
    refusals = {one.name: conditions.refuses(person_for_conditions(one, step.conditions, at)) for one in found}
    kept = [one for one in found if not refusals[one.name]]
    if kept:
        return sorted(kept, key=lambda one: one.username), kept[0].why
    return [], "; ".join(filter(None, refusals.values())) or f"nobody was on call in {step.schedule or 'it'}"


def _outcomes(alerts: Sequence[Alert], now: datetime) -> list[Outcome]:
    rules = replace(load_rules(now=now), quiets=tuple(quiet_of(one) for one in Silence.objects.all()), severe={})
    return [_outcome(rules, alert) for alert in alerts]


def _outcome(rules: Ruleset, alert: Alert) -> Outcome:
    at = alert.first_received_at
    found: Decision = decide(rules, labels=alert.labels, sender=alert.integration.slug, now=at)
    if found.hold:
        return Outcome(f"nobody: {found.hold_words}", (), pages=False)
    opening = [one for one in found.routes if one.opens_incident]
    if not opening:
        return Outcome(
            f"nobody: {found.words}" if not found.routes else f"recorded only by {found.routes[0].slug}",
            (),
            pages=False,
        )
    people: list[str] = []
    said = []
    for one in opening:
        paged, why = first_paged(one.policy, severity=one.severity, at=at)
        people += [person.username for person in paged]
        said.append(f"{one.slug} ({one.severity}): {', '.join(person.name for person in paged) or 'nobody'}, {why}")
    return Outcome("; ".join(said), tuple(people), pages=bool(people))


def _pretend_always(known: set[int], now: datetime) -> None:
    """Let drafted versions hold for the past too, so that stored alerts meet them; undone with the transaction."""
    for version in ScheduleVersion.objects.exclude(pk__in=known):
        ScheduleVersion.objects.filter(schedule=version.schedule_id).exclude(pk=version.pk).delete()
        ScheduleVersion.objects.filter(pk=version.pk).update(effective_from=now - LONG_AGO)


def _coming(now: datetime) -> dict[str, list[Shift]]:
    # A drafted version holds from its own instant; two seconds later every version of now does.
    start = now + timedelta(seconds=2)
    every = Schedule.objects.prefetch_related("versions", "overrides__user")
    return {one.slug: shifts_between(schedule=one, start=start, end=start + SHOWN_AHEAD) for one in every}


def _differences(live: dict[str, list[Shift]], draft: dict[str, list[Shift]]) -> list[ShiftChange]:
    found: list[ShiftChange] = []
    every = [shift for found_in in (live, draft) for shifts in found_in.values() for shift in shifts]
    names = names_of(usernames={one for shift in every for one in shift.people})
    for slug in sorted({*live, *draft}):
        edges = sorted(
            {
                at
                for shifts in (live.get(slug, []), draft.get(slug, []))
                for one in shifts
                for at in (one.starts_at, one.ends_at)
            }
        )
        for start, end in pairwise(edges):
            before, after = (_who(found_in.get(slug, []), start, names) for found_in in (live, draft))
            if before == after:
                continue
            last = found[-1] if found else None
            if last and (last.schedule, last.ends_at, last.live, last.draft) == (slug, start, before, after):
                found[-1] = replace(last, ends_at=end)
            else:
                found.append(ShiftChange(slug, start, end, before, after))
    return found


def _who(shifts: Sequence[Shift], at: datetime, names: Mapping[str, str]) -> str:
    people = next((one.people for one in shifts if one.starts_at <= at < one.ends_at), ())
    return ", ".join(names[one] for one in people) or "nobody"
