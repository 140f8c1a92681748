"""Why somebody was paged, or nobody was: the chain of decisions that was written down when each was made, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.selectors import name_of
from delivery.selectors import attempts_of, deliveries_about
from incidents.data import EscalationState, TimelineKind
from incidents.models import Alert, EscalationRun, Incident, Page

MOST_ALERTS = 50


@dataclass(frozen=True)
class Chapter:
    """A part of the chain: a heading and its steps, first to last. Folded: told like one before it, shown on demand."""

    title: str
    steps: tuple[str, ...]
    folded: bool = False


def explain_alert(*, alert: Alert) -> list[Chapter]:
    """Return how an alert was decided on, and what followed."""
    head = tuple(str(step) for step in alert.trail) or (alert.decision,)
    facts = [f"seen {alert.occurrences} times, last at {alert.last_received_at:%Y-%m-%d %H:%M:%S} UTC"]
    if alert.suppressed_by and alert.incident_id is None:
        facts.append(f"it is held by {alert.suppressed_by.partition(':')[2]} and pages when that is over")
    if alert.resolved_at is not None:
        facts.append(f"resolved at {alert.resolved_at:%Y-%m-%d %H:%M:%S} UTC")
    chapters = [Chapter(f"Alert {alert.pk}: {alert.title}", (*head, *facts))]
    if alert.incident is None:
        return [*chapters, Chapter("Pages", ("Nobody was paged: it belongs to no incident.",))]
    return [*chapters, *_pages_of(alert.incident)]


def explain_incident(*, incident: Incident) -> list[Chapter]:
    """Return why an incident was opened, whom it paged and whom not, and how each page fared."""
    alerts = list(incident.alerts.order_by("pk")[:MOST_ALERTS])
    opened = (
        f"opened at {incident.triggered_at:%Y-%m-%d %H:%M:%S} UTC by {name_of(incident.declared_by)}",
        f"alerts of {incident.grouping_key} join it while it is open"
        if incident.route_name
        else "declared by a person; no alert joins it by itself",
    )
    # Whom it paged is what people come for.
    chapters = [Chapter(f"{incident.reference}: {incident.title}", opened), *_pages_of(incident)]
    chapters += [
        Chapter(
            f"Alert {alert.pk}: {alert.title}", tuple(map(str, alert.trail)) or (alert.decision,), folded=number > 0
        )
        for number, alert in enumerate(alerts)
    ]
    return chapters


def _pages_of(incident: Incident) -> Sequence[Chapter]:
    runs = list(EscalationRun.objects.filter(incident=incident).select_related("policy").order_by("pk"))
    if not runs:
        return (Chapter("Pages", ("Nobody was paged: no escalation policy belongs to it.",)),)
    tried = _deliveries(incident)
    refused = [
        (entry.source_key, f"{entry.at:%H:%M:%S} UTC: {entry.text}")
        for entry in incident.timeline.filter(kind=TimelineKind.PAGE)
        if ":refused:" in entry.source_key or entry.source_key.endswith(":nobody")
    ]
    chapters = []
    for run in runs:
        size = f"{len(run.snapshot['steps'])} steps, {run.snapshot['repeat']} rounds"
        steps = [f"policy {run.snapshot['policy']}, as it stood at {run.started_at:%Y-%m-%d %H:%M:%S} UTC: {size}"]
        for page in Page.objects.filter(run=run).select_related("user"):
            how = "folded into a digest" if page.folded else "paged"
            steps.append(
                f"{page.at:%H:%M:%S} UTC: step {page.step + 1}, round {page.loop + 1}: {page.user} {how}: {page.why}"
            )
            steps += tried.get(page.key, ())
        steps += [words for key, words in refused if key.startswith(f"escalation:{run.pk}:")]
        steps.append(_how_it_stands(run))
        chapters.append(Chapter(f"Pages by {run.snapshot['policy']}", tuple(steps)))
    return chapters


def _how_it_stands(run: EscalationRun) -> str:
    if run.state == EscalationState.STOPPED:
        return f"stopped at {run.stopped_at:%H:%M:%S} UTC: {run.last_error or 'the incident was taken on'}"
    if run.state == EscalationState.EXHAUSTED:
        return (
            f"all steps were taken by {run.exhausted_at:%H:%M:%S} UTC and nobody acknowledged; administrators were told"
        )
    return f"running; step {run.step + 1} is due at {run.due_at:%H:%M:%S} UTC"


def _deliveries(incident: Incident) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in deliveries_about(about=f"incident:{incident.reference}"):
        key, _, channel = row.idempotency_key.rpartition(":")
        tries = [
            f"try {one.number} {one.outcome}{f' ({one.error})' if one.error else ''}"
            for one in attempts_of(delivery=row)
        ]
        told = ", ".join(tries) or "not handed over yet"
        found.setdefault(key, []).append(f"    by {channel}: {row.state}; {told}")
    return found
