"""Lint runbooks and put revisions into force."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug
from accounts.services import ensure_may
from catalog.selectors import services_by_slugs
from core.clock import database_now
from core.parsing import InputRefusedError, Problem, load_yaml_documents, parse_document
from drivers.data import Risk
from drivers.services import action, actions, parse_arguments
from ledger.data.runbooks import RunbookPublished
from ledger.services import record
from runbooks.domain.documents import BLOCKS, FrontMatter, RawBlock, split_document
from runbooks.models import Runbook, RunbookRevision

TEMPLATE = re.compile(r"\{\{\s*inputs\.([a-z_][a-z0-9_]*)\s*\}\}")
SECRET = re.compile(
    r"(?i)(password|passwd|secret|token|api[_-]?key)\s*[:=]\s*['\"]?[A-Za-z0-9+/_\-]{12,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)


@dataclass(frozen=True)
class Parsed:
    """A runbook's file that may be put into force."""

    front: FrontMatter
    blocks: list[dict[str, Any]]
    source: str
    sha256: str


def parse_runbook(text: str, *, source: str) -> Parsed:
    """Parse and lint a runbook. Raises InputRefusedError with every problem: line, what, how to mend."""
    raw = split_document(text)
    problems = [Problem(f"{source}:{line}", what, how) for line, what, how in raw.problems]
    if raw.problems and not raw.front_matter:
        raise InputRefusedError(problems)
    front = _front_matter(raw.front_matter, source, problems)
    blocks: list[dict[str, Any]] = []
    for block in raw.blocks:
        parsed = _block(block, source, problems, front)
        if parsed is not None:
            blocks.append(parsed)
    problems += _structure(blocks, raw.blocks, source)
    for number, line in enumerate(text.splitlines(), start=1):
        if SECRET.search(line):
            problems.append(Problem(f"{source}:{number}", "what looks like a secret", "name it as a reference instead"))
    if problems or front is None:
        raise InputRefusedError(problems)
    return Parsed(front, blocks, text, hashlib.sha256(text.encode()).hexdigest())


@transaction.atomic
def apply_documents(*, principal: Principal, documents: Sequence[tuple[str, str]]) -> list[str]:
    """Put runbooks into force, all or nothing; `documents` are (name of the file, text). Returns those that changed."""
    parsed: list[tuple[str, Parsed]] = []
    problems: list[Problem] = []
    for source, text in documents:
        try:
            parsed.append((source, parse_runbook(text, source=source)))
        except InputRefusedError as error:
            problems += error.problems
    if problems:
        raise InputRefusedError(problems)
    return [item.front.runbook for source, item in parsed if _apply(principal, item, source)]


def _apply(principal: Principal, parsed: Parsed, source: str) -> bool:
    front = parsed.front
    team = team_by_slug(slug=front.owner) if front.owner else None
    if front.owner and team is None:
        raise InputRefusedError([Problem(f"{source} owner", front.owner, "the slug of a team is allowed")])
    ensure_may(principal, Capability.RUNBOOK_EDIT, team_id=team.pk if team is not None else None)
    services = list(services_by_slugs(front.services))
    if missing := set(front.services) - {service.slug for service in services}:
        raise InputRefusedError([Problem(f"{source} services", min(missing), "slugs of services are allowed")])
    runbook, _ = Runbook.objects.update_or_create(
        slug=front.runbook,
        defaults={
            "title": front.title,
            "team": team,
            "review_by": date.fromisoformat(front.review_by) if front.review_by else None,
        },
    )
    runbook.services.set(services)
    newest = runbook.revisions.order_by("-created_at", "-pk").first()
    if newest is not None and newest.sha256 == parsed.sha256:
        return False
    RunbookRevision.objects.update_or_create(
        runbook=runbook,
        sha256=parsed.sha256,
        defaults={
            "source": parsed.source,
            "blocks": parsed.blocks,
            "inputs": {name: spec.model_dump(mode="json") for name, spec in front.inputs.items()},
            "author": principal.reference,
            "created_at": database_now(),
        },
    )
    record(
        RunbookPublished(runbook=front.runbook, revision=parsed.sha256, owner=front.owner, review_by=front.review_by),
        actor=principal.reference,
        subject=f"runbook:{front.runbook}",
    )
    return True


def _front_matter(text: str, source: str, problems: list[Problem]) -> FrontMatter | None:
    try:
        ((data, lines),) = load_yaml_documents(text, source=source)
        return parse_document(FrontMatter, data, source=source, lines=lines)
    except InputRefusedError as error:
        problems += error.problems
    except ValueError:
        problems.append(Problem(f"{source}:2", "front matter of several documents", "one YAML document is allowed"))
    return None


def _block(block: RawBlock, source: str, problems: list[Problem], front: FrontMatter | None) -> dict[str, Any] | None:
    where = f"{source}:{block.line} {block.kind} {block.id}"
    try:
        loaded = load_yaml_documents(block.text, source=where)
        data = loaded[0][0] if loaded else {}
        parsed = parse_document(BLOCKS[block.kind], data, source=where)
        values = parsed.model_dump(mode="json", by_alias=True)
        if block.kind in {"check", "step"}:
            _arguments(values, block, where, problems, front)
    except InputRefusedError as error:
        problems += error.problems
        return None
    return {"kind": block.kind, "id": block.id, "line": block.line, **values}


def _arguments(
    values: dict[str, Any], block: RawBlock, where: str, problems: list[Problem], front: FrontMatter | None
) -> None:
    used = set(TEMPLATE.findall(block.text))
    known = set(front.inputs) if front else set()
    problems += [
        Problem(where, f"the input {name}", "declare it under inputs in the front matter")
        for name in sorted(used - known)
    ]
    found = action(values["action"], source=f"{where} action")
    if block.kind == "check" and found.risk is not Risk.READ:
        problems.append(
            Problem(where, f"the action {found.name} ({found.risk})", "a check may only look; make it a step")
        )
    if block.kind == "step" and found.risk is Risk.READ:
        problems.append(Problem(where, f"the action {found.name} (read)", "a step changes something; make it a check"))
    if not used:
        parse_arguments(values["action"], values["with"], source=f"{where} with")


def _structure(blocks: list[dict[str, Any]], raw: list[RawBlock], source: str) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for found in raw:
        if found.id in seen:
            problems.append(
                Problem(f"{source}:{found.line}", f"the id {found.id} a second time", "give each block its own")
            )
        seen.add(found.id)
    approved: set[str] = set()
    for block in blocks:
        where = f"{source}:{block['line']} {block['kind']} {block['id']}"
        if block["kind"] == "approve":
            approved |= set(block["before"])
            problems += [
                Problem(where, f"before: {name}", "name a step of this runbook")
                for name in block["before"]
                if name not in seen
            ]
        elif block["kind"] == "step":
            risk = actions()[block["action"]].risk if block["action"] in actions() else Risk.CHANGE
            if risk is Risk.DESTRUCTIVE and block["id"] not in approved:
                problems.append(
                    Problem(
                        where,
                        "a destructive step without approval",
                        f"put `approve` with before: [{block['id']}] above it",
                    )
                )
            for key in ("verify", "rollback"):
                if block[key] and block[key] not in seen:
                    problems.append(Problem(where, f"{key}: {block[key]}", "name a block of this runbook"))
    if not blocks and not problems:
        problems.append(Problem(source, "no executable block", "add at least one check, step, confirm or approve"))
    return problems
