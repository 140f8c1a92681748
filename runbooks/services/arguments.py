"""A block's arguments in a run: templates filled, digests for approvals, secrets put in last and masked after."""

import hashlib
import re
from collections.abc import Callable
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import orjson
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import refuse
from core.proving import dangerous
from ledger.data.access import AuditedAction
from ledger.services import record
from runbooks.data import StepState
from runbooks.domain.documents import MAX_ITEMS, TEMPLATE
from runbooks.models import Runbook, RunbookRun, RunbookSecret

SECRET_REFERENCE = re.compile(r"secret://([a-z0-9][a-z0-9-]{0,62})")
MASK = "•••"
MOST_CHARACTERS = 4000
# The runbook's own text begins an address: what is filled in further on is a part of it, never more.
_URL = re.compile(r"https?://|\{\{[^}]*\}\}/")


def resolve_arguments(run: RunbookRun, block: dict[str, Any], *, item: str = "") -> dict[str, Any]:
    """Return a block's arguments with inputs, item and earlier answers in place; what is not known yet stays."""
    filled: dict[str, Any] = fill(block["with"], inputs=run.inputs, steps=known_steps(run, block["with"]), item=item)
    return filled


def fill(value: Any, *, inputs: dict[str, Any], steps: dict[str, dict[str, Any]], item: str = "") -> Any:
    """Fill templates in values, never in keys. A value that is one template alone keeps its type."""

    def of(match: re.Match[str]) -> Any:
        if match["input"]:
            return inputs.get(match["input"])
        if match["item"]:
            return item
        known = steps.get(match["step"], {})
        return known.get(match["of"]) if match["step"] in steps else match[0]

    if isinstance(value, str):
        whole = TEMPLATE.fullmatch(value)
        if whole:
            return of(whole)
        is_url = _URL.match(value) is not None
        return TEMPLATE.sub(lambda match: _part(of(match)) if is_url and match.start() else str(of(match)), value)
    if isinstance(value, dict):
        return {key: fill(one, inputs=inputs, steps=steps, item=item) for key, one in value.items()}
    return [fill(one, inputs=inputs, steps=steps, item=item) for one in value] if isinstance(value, list) else value


def _part(value: object) -> str:
    """Return a value as one part of an address: it adds no path, no query and no user to what the runbook says."""
    text = quote(str(value), safe=":")
    return text.replace(".", "%2E") if text in {".", ".."} else text


def known_steps(run: RunbookRun, wanted: Any = None) -> dict[str, dict[str, Any]]:
    """Return what earlier blocks found: state, answer and value. `wanted` without a template for them costs nothing."""
    if wanted is not None and b"steps." not in orjson.dumps(wanted, default=str):
        return {}
    known: dict[str, dict[str, Any]] = {}
    for step in run.steps.filter(item_index=0).prefetch_related("attempts"):
        if step.state in {StepState.PENDING, StepState.STARTED}:
            continue
        attempts = list(step.attempts.all())
        value = attempts[-1].output.get("value") if attempts else None
        known[step.step_id] = {"state": step.state, "answer": step.answer, "value": value}
    return known


def digest_of(value: object) -> str:
    """Return the SHA-256 of a value as canonical JSON."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


def guarded_digest(run: RunbookRun, block: dict[str, Any]) -> str:
    """Return what an approval is bound to: the revision, and each guarded step, its undoing and their arguments."""
    guarded = []
    by_id = {other["id"]: other for other in run.revision.blocks}
    for name in block["before"]:
        for one in (by_id.get(name), by_id.get(by_id.get(name, {}).get("rollback") or "")):
            if one is None:
                continue
            items = run.inputs.get((one.get("foreach") or "").removeprefix("inputs.")) or [""]
            guarded.append([one["id"], one["action"], [resolve_arguments(run, one, item=item) for item in items]])
    return digest_of([run.reference, run.revision.sha256, guarded])


@dangerous("keep a secret for runbooks")
@transaction.atomic
def keep_secret(*, principal: Principal, name: str, value: str, team_slug: str = "") -> None:
    """Keep a value that runbooks may name; with a team, those of the team alone."""
    team = team_by_slug(slug=team_slug) if team_slug else None
    if team_slug and team is None:
        raise refuse("team", found=team_slug, allowed="the slug of a team is allowed")
    if not SECRET_REFERENCE.fullmatch(f"secret://{name}") or not value:
        raise refuse("secret", found=name or "nothing", allowed="a name as pager-key and a value that is not empty")
    known = RunbookSecret.objects.filter(name=name).first()
    scopes = {team.pk if team else None} | ({known.team_id} if known else set())
    for scope in scopes:
        ensure_may(principal, Capability.RUNBOOK_EDIT, team_id=scope)
    RunbookSecret.objects.update_or_create(
        name=name, defaults={"value": value, "team": team, "updated_at": database_now()}
    )
    record(
        AuditedAction(action="runbook.secret_kept", target=name, after={"team": team_slug}),
        actor=principal.reference,
        subject=f"runbook-secret:{name}",
    )


def with_secrets(run: RunbookRun, block: dict[str, Any], *, item: str = "") -> tuple[Any, list[str]]:
    """Return a block's arguments with secrets in the place of their references, and the values to mask.

    Only references that the runbook's own text holds are followed: one that an input or an output brings stays text.
    Raises InputRefusedError for a secret that there is not, or that belongs to another team.
    """
    found: list[str] = []
    # Nobody who writes an input or an output can know this word.
    mark = token_hex(16)
    marked = _each_text(block["with"], lambda text: SECRET_REFERENCE.sub(lambda match: f"{mark}:{match[1]}:", text))
    filled = fill(marked, inputs=run.inputs, steps=known_steps(run, block["with"]), item=item)
    place = re.compile(rf"{mark}:([a-z0-9-]+):")
    put = _each_text(filled, lambda text: place.sub(lambda match: _secret(run.revision.runbook, match[1], found), text))
    return put, found


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_text(one, change) for key, one in value.items()}
    return [_each_text(one, change) for one in value] if isinstance(value, list) else value


def _secret(runbook: Runbook, name: str, found: list[str]) -> str:
    secret = RunbookSecret.objects.filter(name=name).first()
    if secret is None or (secret.team_id is not None and secret.team_id != runbook.team_id):
        raise refuse("secret", found=f"secret://{name}", allowed="a secret of this runbook's team is allowed")
    found.append(secret.value)
    return secret.value


def masked(value: Any, secrets: list[str]) -> Any:
    """Return a value with every secret in it replaced, wherever it stands."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            if secret:
                value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {masked(key, secrets): masked(one, secrets) for key, one in value.items()}
    return [masked(one, secrets) for one in value] if isinstance(value, list) else value


def parse_inputs(slug: str, specs: dict[str, Any], given: dict[str, Any], context: dict[str, str]) -> dict[str, Any]:
    """Check what a run is given against what the runbook declares. Raises InputRefusedError."""
    if unknown := set(given) - set(specs):
        raise refuse(f"{slug} inputs", found=min(unknown), allowed=f"one of {', '.join(specs) or 'none'} is allowed")
    return {name: _input(f"{slug} inputs.{name}", spec, given.get(name), context) for name, spec in specs.items()}


def _input(where: str, spec: dict[str, Any], value: Any, context: dict[str, str]) -> Any:
    if value is None or value == "":
        value = context.get(spec.get("from") or "", spec["default"])
    if value is None:
        if spec["required"]:
            raise refuse(where, found="nothing", allowed="this input is required")
        return [] if spec["type"] == "list" else None
    if spec["type"] == "list":
        items = value if isinstance(value, list) else [one.strip() for one in str(value).split(",") if one.strip()]
        if len(items) > MAX_ITEMS:
            raise refuse(where, found=f"{len(items)} items", allowed=f"at most {MAX_ITEMS} are allowed")
        return [_text(where, spec, str(one)) for one in items]
    if spec["type"] in {"integer", "number"}:
        pattern = r"-?[0-9]{1,18}" if spec["type"] == "integer" else r"-?[0-9]{1,15}(\.[0-9]{1,9})?"
        if not re.fullmatch(pattern, str(value)):
            kind = "a whole number" if spec["type"] == "integer" else "a number"
            raise refuse(where, found=str(value), allowed=f"{kind} is allowed")
        return int(value) if spec["type"] == "integer" else float(value)
    if spec["type"] == "boolean":
        word = str(value).lower()
        if word not in {"true", "false", "yes", "no"}:
            raise refuse(where, found=str(value), allowed="true or false is allowed")
        return word in {"true", "yes"}
    return _text(where, spec, str(value))


def _text(where: str, spec: dict[str, Any], value: str) -> str:
    if len(value) > MOST_CHARACTERS:
        raise refuse(where, found=f"{len(value)} characters", allowed=f"at most {MOST_CHARACTERS} are allowed")
    if spec.get("choices"):
        if value not in spec["choices"]:
            raise refuse(where, found=value, allowed=f"one of {', '.join(spec['choices'])} is allowed")
    elif not re.fullmatch(spec["pattern"], value):
        raise refuse(where, found=value, allowed=f"text like {spec['pattern']} is allowed")
    return value
