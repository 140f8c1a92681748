"""The runbook that a route names is started with the incident; its runs are told in the timeline."""

import pytest

from accounts.data import system_principal
from core.work import drain_all
from incidents.models import Incident, Review, Route, TimelineEntry
from incidents.services import resolve_incident
from ledger.models import LedgerEntry
from runbooks.models import RunbookRun
from runbooks.services import apply_documents, break_glass, confirm_step
from tests.incidents.conftest import World, an_alert

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

RUNBOOK = """---
runbook: look
title: Look at it
owner: inference
services: [gateway]
---
# Look at it

```confirm id=seen
ask: Do customers notice?
answers: ["yes", "no"]
```
"""


def texts() -> list[str]:
    return list(TimelineEntry.objects.filter(kind="runbook").values_list("text", flat=True))


def open_incident(world: World) -> Incident:
    world.post_alertmanager(an_alert())
    drain_all()
    return Incident.objects.get()


def test_a_runbook_that_does_not_exist_is_told_and_the_page_goes_out(world: World) -> None:
    Route.objects.filter(slug="gateway").update(runbook_slug="no-such-runbook")
    incident = open_incident(world)
    assert any("no-such-runbook could not be started" in text for text in texts())
    assert incident.first_notified_at is not None


def test_the_run_is_started_once_and_told_from_start_to_end(world: World) -> None:
    apply_documents(principal=system_principal("test"), documents=[("look.md", RUNBOOK)])
    Route.objects.filter(slug="gateway").update(runbook_slug="look")
    incident = open_incident(world)
    run = RunbookRun.objects.get()
    assert run.incident_reference == incident.reference
    assert "Runbook Look at it: started" in texts()
    confirm_step(principal=world.who("alice"), run=run, step_id="seen", answer="yes")
    drain_all()
    assert any(text.startswith("Step “seen” succeeded") for text in texts())
    resolve_incident(principal=world.who("alice"), incident=incident)
    entry = LedgerEntry.objects.get(entry_type="incident.resolved")
    assert entry.payload is not None
    assert entry.payload["runbook_runs"] == [run.reference]


CALLED = """---
runbook: called
title: Called by its alert
owner: inference
triggers: [{label: alertname, equals: HighErrorRate}]
inputs: {service: {from: alert.labels.service, required: true}}
---
# Called by its alert

```confirm id=seen
ask: Is {{ inputs.service }} unwell?
```

```approve id=agree
before: [restart]
```

```step id=restart
action: process.restart
with: {process: {environ: {ASSAY_TARGET: nothing-has-this}}}
timeout: 5s
```
"""


def test_an_alert_calls_for_a_runbook_by_its_labels_and_gives_it_its_inputs(world: World) -> None:
    name = an_alert()["labels"]["alertname"]
    text = CALLED.replace("HighErrorRate", name)
    apply_documents(principal=system_principal("test"), documents=[("called.md", text)])
    incident = open_incident(world)
    run = RunbookRun.objects.get()
    assert (run.incident_reference, run.inputs) == (incident.reference, {"service": "gateway"})


def test_a_broken_glass_is_in_the_timeline_and_flagged_in_the_review(world: World) -> None:
    text = CALLED.replace("HighErrorRate", an_alert()["labels"]["alertname"])
    apply_documents(principal=system_principal("test"), documents=[("called.md", text)])
    incident = open_incident(world)
    run = RunbookRun.objects.get()
    confirm_step(principal=world.who("alice"), run=run, step_id="seen", answer="yes")
    drain_all()
    reason = "the approver cannot be reached and customers wait"
    break_glass(principal=world.who("alice"), run=run, step_id="agree", reason=reason)
    drain_all()
    assert any("broke the glass" in text for text in texts())
    resolve_incident(principal=world.who("alice"), incident=incident)
    drain_all()
    review = Review.objects.get(incident=incident)
    assert reason in review.contributing_factors
    assert any(reason in text for text in review.drafted["overridden"])
