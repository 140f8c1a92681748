"""Start the runbook that an incident's route names, and write what becomes of it to the timeline."""

from accounts.data import system_principal
from core.events import subscribe
from core.parsing import InputRefusedError
from incidents.data import TimelineKind
from incidents.events import IncidentOpened
from incidents.models import Incident
from incidents.selectors import incident_by_reference
from incidents.services import add_timeline_entry, link_runbook_run
from runbooks.events import ApprovalRequested, RunFinished, StepFinished
from runbooks.services import start_run

TRIGGER = system_principal("incident-trigger")


@subscribe(IncidentOpened)
def start_named_runbook(event: IncidentOpened) -> None:
    """Start the run; only its checks go on without a person. A runbook that does not exist is said, not hidden."""
    incident = incident_by_reference(reference=event.reference)
    if incident is None or not incident.runbook_slug:
        return
    try:
        run = start_run(
            principal=TRIGGER,
            runbook_slug=incident.runbook_slug,
            inputs={},
            trigger=f"incident {event.reference}",
            idempotency_key=f"incident:{event.reference}:{incident.runbook_slug}",
            incident_reference=event.reference,
        )
    except InputRefusedError as error:
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.RUNBOOK,
            text=f"The runbook {incident.runbook_slug} could not be started: {error}",
            source_key=f"runbook-not-started:{incident.runbook_slug}",
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
    _write(event.incident_reference, event.run_reference, f"{event.step}: {event.state}. {event.detail}", event.step)


@subscribe(ApprovalRequested)
def follow_approval(event: ApprovalRequested) -> None:
    """Write to the timeline that somebody's approval is needed."""
    text = f"{event.step} waits for approval until {event.expires_at:%H:%M} UTC"
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
            title=event.runbook,
            state=event.state,
        )


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
