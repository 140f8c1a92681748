"""Start runs, and show beforehand what a run would do."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from pydantic import TypeAdapter

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.events import publish
from core.identifiers import new_id
from core.parsing import InputRefusedError, refuse
from core.work import wake
from drivers.services import plan_action, probe_action
from runbooks.data import PlannedBlock
from runbooks.domain.documents import TEMPLATE
from runbooks.events import RunStarted
from runbooks.models import Runbook, RunbookRevision, RunbookRun, RunStep
from runbooks.selectors import is_one_of, latest_revision, runbook_by_slug
from runbooks.services.arguments import fill, known_steps, parse_inputs
from runbooks.services.linting import risk_of

ADVANCE_QUEUE = "runbooks.advance"
_DURATION = TypeAdapter(timedelta)


def seconds_of(value: str) -> timedelta:
    """Read a duration as a revision holds it (ISO 8601)."""
    return _DURATION.validate_python(value)


@transaction.atomic
def start_run(
    *,
    principal: Principal,
    runbook_slug: str,
    inputs: dict[str, Any],
    trigger: str,
    idempotency_key: str,
    incident_reference: str = "",
    context: Mapping[str, str] | None = None,
) -> RunbookRun:
    """Start a run of the revision in force; the same key again returns the run there is. Raises InputRefusedError.

    `context` holds values that inputs may take by `from`, as `alert.labels.instance`.
    """
    known = RunbookRun.objects.filter(idempotency_key=idempotency_key).first()
    if known is not None:
        return known
    runbook, revision = _in_force(runbook_slug)
    ensure_may_run(principal, runbook, revision)
    now = database_now()
    limit = revision.policy.get("timeout")
    run = RunbookRun.objects.create(
        reference=new_id("rbr"),
        idempotency_key=idempotency_key,
        revision=revision,
        inputs=parse_inputs(runbook.slug, revision.inputs, inputs, dict(context or {})),
        trigger=trigger[:200],
        operator=principal.reference,
        operated_by=[principal.reference],
        incident_reference=incident_reference,
        started_at=now,
        deadline_at=now + seconds_of(limit) if limit else None,
        due_at=now,
    )
    RunStep.objects.bulk_create(
        [
            RunStep(run=run, position=position, step_id=block["id"], kind=block["kind"], item_index=index, item=item)
            for position, block in enumerate(revision.blocks)
            for index, item in enumerate(_items(block, run.inputs))
        ]
    )
    publish(RunStarted(run_reference=run.reference, runbook=runbook.slug, incident_reference=incident_reference))
    wake(ADVANCE_QUEUE)
    return run


def ensure_may_run(principal: Principal, runbook: Runbook, revision: RunbookRevision) -> None:
    """Raise PermissionDenied unless the principal's role allows it and the runbook's own permissions do."""
    ensure_may(principal, Capability.RUNBOOK_RUN, team_id=runbook.team_id)
    allowed = revision.policy.get("permissions", {}).get("run", [])
    if allowed and principal.user_id is not None and not is_one_of(principal, allowed, team_id=runbook.team_id):
        raise PermissionDenied(f"{runbook} is run by {', '.join(allowed)} only.")


def plan_run(*, principal: Principal, runbook_slug: str, inputs: dict[str, Any]) -> list[PlannedBlock]:
    """Return what each block would do, with resolved commands and targets. Looks only; raises InputRefusedError."""
    runbook, revision = _in_force(runbook_slug)
    ensure_may(principal, Capability.OPERATIONS_VIEW, team_id=runbook.team_id)
    values = parse_inputs(runbook.slug, revision.inputs, inputs, {})
    return plan_revision(revision.blocks, values)


def plan_revision(blocks: list[dict[str, Any]], values: dict[str, Any]) -> list[PlannedBlock]:
    """Return what each of some blocks would do with these inputs."""
    guards = {
        block["id"]: tuple(g["id"] for g in blocks if g["kind"] == "approve" and block["id"] in g["before"])
        for block in blocks
    }
    return [
        _planned(block, values, item, guards[block["id"]]) for block in blocks for item in _items(block, values) or [""]
    ]


def plan_run_step(*, principal: Principal, run: RunbookRun, step_id: str) -> list[PlannedBlock]:
    """Return what a block of a run would do as things are now, one entry for each item. Looks only."""
    ensure_may(principal, Capability.OPERATIONS_VIEW, team_id=run.revision.runbook.team_id)
    blocks = run.revision.blocks
    block = next((one for one in blocks if one["id"] == step_id), None)
    if block is None:
        raise refuse("step", found=step_id, allowed="the id of a step of this run is allowed")
    guards = tuple(one["id"] for one in blocks if one["kind"] == "approve" and step_id in one["before"])
    steps = known_steps(run, block)
    return [_planned(block, run.inputs, item, guards, steps) for item in _items(block, run.inputs) or [""]]


def _in_force(slug: str) -> tuple[Runbook, RunbookRevision]:
    runbook = runbook_by_slug(slug=slug)
    if runbook is None:
        raise refuse("runbook", found=slug, allowed="the slug of a runbook is allowed")
    return runbook, latest_revision(runbook=runbook)


def _items(block: dict[str, Any], values: dict[str, Any]) -> list[str]:
    name = (block.get("foreach") or "").removeprefix("inputs.")
    return list(values.get(name) or []) if name else [""]


def _planned(
    block: dict[str, Any],
    values: dict[str, Any],
    item: str,
    guards: tuple[str, ...],
    steps: dict[str, dict[str, Any]] | None = None,
) -> PlannedBlock:
    known = steps or {}
    words = " ".join(str(block.get(key) or "") for key in ("ask", "message")).strip()
    if block["kind"] not in {"check", "step"}:
        text = fill(words, inputs=values, steps=known, item=item) or _in_words(block)
        return PlannedBlock(id=block["id"], kind=block["kind"], item=item, summary=str(text))
    arguments = fill(block["with"], inputs=values, steps=known, item=item)
    common: dict[str, Any] = {
        "id": block["id"],
        "kind": block["kind"],
        "item": item,
        "action": block["action"],
        "risk": risk_of(block).value,
        "arguments": arguments,
        "guarded_by": guards,
    }
    if TEMPLATE.search(str(arguments)):
        return PlannedBlock(**common, summary="Known when the blocks above have their answers")
    try:
        support = probe_action(block["action"], arguments)
        plan = plan_action(block["action"], arguments)
    except InputRefusedError as error:
        return PlannedBlock(**common, problem=str(error))
    except Exception as error:  # noqa: BLE001 a plan that fails is shown, it must not hide the others
        return PlannedBlock(**common, problem=f"{type(error).__name__}: {error}")
    return PlannedBlock(
        **common,
        summary=plan.summary,
        commands=plan.commands,
        targets=tuple(target.name for target in plan.targets),
        problem="" if support.supported else f"not possible here: {support.reason}",
    )


def _in_words(block: dict[str, Any]) -> str:
    if block["kind"] == "approve":
        return f"Somebody else agrees before {', '.join(block['before'])}"
    if block["kind"] == "wait":
        return f"Wait {seconds_of(block['for'])}"
    return f"Take one way of {', '.join(block.get('branches', {}))}"
