"""`python -m tests.soak.many_site`: makes the site of a storm, and does line by line what the storm tells it to.

Each line on standard input is `{"do": …, "with": {…}}`; each answer `{"value": …}` or `{"error": …}`.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import django
from django.core.management import call_command

RUNBOOK = """---
runbook: look-and-tell
title: Look and tell
inputs:
  mark: {pattern: "^[a-z0-9-]{1,60}$", required: true}
---
# Look and tell

```check id=look
action: http.check
with: {url: "RECEIVER/look/{{ inputs.mark }}", allow: [127.0.0.1]}
timeout: 20s
```

```step id=keyed
action: http.request
with: {method: POST, url: "RECEIVER/keyed/{{ inputs.mark }}", json: {mark: "{{ inputs.mark }}"}, allow: [127.0.0.1]}
idempotency: key
timeout: 20s
```

```wait id=settle
for: 1s
```
"""


def seed(receiver: str) -> dict[str, str]:
    """Make tables, people, routes, an SLO, a runbook and where chaos is allowed; return the senders' tokens."""
    call_command("migrate", verbosity=0)
    from accounts.data import Capability, Role, system_principal
    from accounts.services import create_api_token, create_team, create_user, grant_role, set_team_members
    from catalog.services import apply_documents as apply_catalog
    from core.parsing import load_yaml_documents
    from incidents.models import Route
    from incidents.services import apply_documents as apply_incidents
    from reliability.services import apply_documents as apply_slos
    from runbooks.services import apply_documents as apply_runbooks
    from tests.chaos.own_site import CATALOG as LAB
    from tests.incidents.worlds import DOCUMENTS
    from tests.reliability.conftest import CATALOG, TTFT

    me = system_principal("test")
    team = create_team(principal=me, slug="inference", name="Inference")
    for name in ("alice", "bob"):
        user = create_user(principal=me, username=name, password=None, email=f"{name}@example.org")
        grant_role(principal=me, user=user, role=Role.RESPONDER, team=team)
    set_team_members(principal=me, team=team, usernames=["alice", "bob"])
    services = "".join(
        f"---\napiVersion: assay/v1\nkind: Service\nmetadata: {{name: svc-{n}}}\n"
        "spec: {environment: demo, team: inference}\n"
        for n in range(5)
    )
    apply_catalog(principal=me, documents=load_yaml_documents(CATALOG + services + "---" + LAB, source="catalog"))
    applied = apply_incidents(principal=me, documents=load_yaml_documents(DOCUMENTS, source="world"))
    Route.objects.filter(slug="gateway").update(matchers=['severity=~"page|critical"'], quiet_period=None)
    apply_slos(principal=me, documents=load_yaml_documents(TTFT, source="slo.yaml"), source="slo.yaml")
    apply_runbooks(principal=me, documents=[("look.md", RUNBOOK.replace("RECEIVER", receiver))])
    sender = create_user(principal=me, username="collector", password=None)
    grant_role(principal=me, user=sender, role=Role.RESPONDER)
    _, secret = create_api_token(principal=me, owner=sender, name="otlp", scopes=[Capability.TELEMETRY_INGEST])
    return {"alerts": applied.new_tokens["prometheus"].token, "otlp": secret}


def runbook(mark: str) -> str:
    """Start a run as a person does, whose steps need no release; the same mark again is the same run."""
    from accounts.selectors import principal_for_user, user_by_username
    from runbooks.services import start_run

    operator = user_by_username(username="collector")
    assert operator is not None
    run = start_run(
        principal=principal_for_user(user=operator),
        runbook_slug="look-and-tell",
        inputs={"mark": mark},
        trigger="test",
        idempotency_key=mark,
    )
    return str(run.reference)


def settle_unknown() -> int:
    """Say of steps whose process died too often that they are done, as a person does; returns of how many."""
    from accounts.selectors import principal_for_user, user_by_username
    from runbooks.data import StepState
    from runbooks.models import RunStep
    from runbooks.services import answer_step

    operator = user_by_username(username="collector")
    assert operator is not None
    steps = list(RunStep.objects.filter(state=StepState.UNKNOWN).select_related("run__revision__runbook"))
    for step in steps:
        answer_step(
            principal=principal_for_user(user=operator),
            run=step.run,
            step_id=step.step_id,
            answer="done",
            evidence="looked",
        )
    return len(steps)


def counted() -> list[list[int]]:
    """Return minute, good, bad and unknown events of the SLO."""
    from reliability.models import SLOVersion
    from tests.reliability.conftest import minutes_of

    found = minutes_of(SLOVersion.objects.get(slo__slug="gateway-ttft"))
    return [[minute, one.good, one.bad, one.unknown] for minute, one in found]


def verify() -> list[str]:
    """Return what is wrong with the ledger."""
    from ledger.services import verify_log

    return list(verify_log().problems)


def main() -> None:
    django.setup()
    from django.db import close_old_connections

    from tests.chaos import on_site_commands

    own: dict[str, Callable[..., Any]] = {
        "seed": seed,
        "runbook": runbook,
        "settle_unknown": settle_unknown,
        "counted": counted,
        "verify": verify,
    }
    commands = {**on_site_commands.COMMANDS, **own}
    for line in sys.stdin:
        asked = json.loads(line)
        close_old_connections()
        try:
            answer = {"value": commands[asked["do"]](**asked["with"])}
        except Exception as error:  # noqa: BLE001 what went wrong is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
