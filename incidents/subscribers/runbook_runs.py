"""Start the runbooks that an incident calls for, and write what becomes of it to the timeline."""

from accounts.data import system_principal
from core.events import subscribe
from core.parsing import InputRefusedError
from incidents.data import BREAK_GLASS, TimelineKind
from incidents.events import IncidentOpened
from incidents.models import Incident
from incidents.selectors import firing_alerts_of, incident_by_reference
from incidents.selectors.known_alerts import known_alerts
from incidents.services import add_timeline_entry, link_runbook_run
from runbooks.events import ApprovalRequested, RunFinished, RunNoted, StepFinished
from runbooks.selectors import add_alert_source, runbook_by_slug, runbooks_called_by
from runbooks.services import start_run

TRIGGER = system_principal("incident-trigger")

add_alert_source(known_alerts)


@subscribe(IncidentOpened)
def start_called_runbooks(event: IncidentOpened) -> None:
    """Start the runbook that the route names, and those whose triggers are labels of the incident's alerts.

    Only their checks go on without a person. A runbook that does not exist is said, not hidden.
    """
    incident = incident_by_reference(reference=event.reference)
    if incident is None:
        return
    labels: dict[str, str] = {}
    for alert in firing_alerts_of(incident=incident):
        labels = {**{name: str(value) for name, value in alert.labels.items()}, **labels}
    called = [runbook.slug for runbook in runbooks_called_by(labels=labels)] if labels else []
    named = [incident.runbook_slug] if incident.runbook_slug else []
    context = {
        **{f"alert.labels.{name}": value for name, value in labels.items()},
        "incident.reference": incident.reference,
        "incident.severity": incident.severity,
    }
    for slug in dict.fromkeys([*named, *called]):
        _start(incident, slug, context)


def _start(incident: Incident, slug: str, context: dict[str, str]) -> None:
    try:
        run = start_run(
            principal=TRIGGER,
            runbook_slug=slug,
            inputs={},
            trigger=f"incident {incident.reference}",
            idempotency_key=f"incident:{incident.reference}:{slug}",
            incident_reference=incident.reference,
            context=context,
        )
    except InputRefusedError as error:
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.RUNBOOK,
            text=f"The runbook {slug} could not be started: {error}",
            source_key=f"runbook-not-started:{slug}",
            principal=TRIGGER,
        )
        return
    link_runbook_run(
        principal=TRIGGER,
        incident=incident,
        run_reference=run.reference,
        title=str(run.revision.runbook),
        state="started",
    )


@subscribe(StepFinished)
def follow_step(event: StepFinished) -> None:
    """Write a step's end to the timeline."""
    words = f"Step “{event.step}” {event.state.replace('_', ' ')}{': ' if event.detail else ''}{event.detail}"
    _write(event.incident_reference, event.run_reference, words, event.step)


@subscribe(ApprovalRequested)
def follow_approval(event: ApprovalRequested) -> None:
    """Write to the timeline that somebody's approval is needed."""
    text = f"Step “{event.step}” waits for approval until {event.expires_at:%H:%M} UTC"
    _write(event.incident_reference, event.run_reference, text, f"{event.step}:requested")


@subscribe(RunFinished)
def follow_run(event: RunFinished) -> None:
    """Write a run's end to the timeline."""
    incident = _incident(event.incident_reference)
    if incident is not None:
        link_runbook_run(
            principal=TRIGGER,
            incident=incident,
            run_reference=event.run_reference,
            title=str(runbook_by_slug(slug=event.runbook) or event.runbook),
            state=event.state,
        )


@subscribe(RunNoted)
def follow_note(event: RunNoted) -> None:
    """Write to the timeline what people did with a run; a broken glass keeps a key that the review looks for."""
    mark = f"{BREAK_GLASS}:" if event.break_glass else ""
    text = f"{event.runbook}: {event.text} ({event.by})"
    _write(event.incident_reference, event.run_reference, text, f"{mark}note:{event.note_id}")


def _write(incident_reference: str, run_reference: str, text: str, key: str) -> None:
    incident = _incident(incident_reference)
    if incident is not None:
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.RUNBOOK,
            text=text,
            source_key=f"runbook:{run_reference}:step:{key}",
            principal=TRIGGER,
            link=f"/runbooks/runs/{run_reference}/",
        )


def _incident(reference: str) -> Incident | None:
    return incident_by_reference(reference=reference) if reference else None
