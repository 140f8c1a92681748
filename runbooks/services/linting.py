"""Read a runbook's file and say everything that is wrong with it: file, line, what, how to mend."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import TypeAdapter

from core.clock import database_now
from core.parsing import MAX_BYTES, InputRefusedError, Problem, load_yaml_documents, parse_document
from drivers.data import Action, Idempotency, Risk
from drivers.services import actions, parse_arguments
from runbooks.domain.documents import (
    BLOCKS,
    LOOKS_LIKE_TEMPLATE,
    TEMPLATE,
    FrontMatter,
    RawBlock,
    split_document,
)
from runbooks.domain.expressions import ExpressionError, is_constant, names_used
from runbooks.domain.machine import find_cycle

SECRET = re.compile(
    r"(?i)(password|passwd|secret|token|api[_-]?key)\s*[:=]\s*['\"]?(?!secret://|\{\{)[A-Za-z0-9+/_\-]{12,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bassay_[A-Za-z0-9_-]{30,}"
)
LONGEST = timedelta(hours=1)
_DURATION = TypeAdapter(timedelta)
NESTED_REPEAT = re.compile(r"(?<!\\)[+*}][^()]*\)(?:[+*]|\{[0-9]*,)")
RISKS = (Risk.READ, Risk.CHANGE, Risk.DESTRUCTIVE)


@dataclass(frozen=True)
class Parsed:
    """A runbook's file that may be put into force."""

    front: FrontMatter
    blocks: list[dict[str, Any]]
    source: str
    sha256: str


def risk_of(block: dict[str, Any]) -> Risk:
    """Return a block's risk: the action's, or the higher one that the step declares."""
    found = actions().get(block["action"])
    declared = Risk(block["risk"]) if block.get("risk") else Risk.READ
    return max(_risk_of(found, block["with"]) if found else Risk.CHANGE, declared, key=RISKS.index)


def _risk_of(found: Action, arguments: dict[str, Any]) -> Risk:
    """Return what an action may do with these arguments: its worst, unless it can tell them apart."""
    judge = getattr(found, "risk_of", None)
    if judge is None:
        return found.risk
    try:
        return Risk(judge(found.arguments.model_construct(**arguments)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return found.risk


def idempotency_of(block: dict[str, Any]) -> str:
    """Return a block's idempotency: what the step declares, else what its action does."""
    found = actions().get(block["action"])
    return str(block.get("idempotency") or (found.idempotency.value if found else Idempotency.NONE.value))


def is_by_hand(block: dict[str, Any]) -> bool:
    """Say whether a person does the step and tells so."""
    return bool(getattr(actions().get(block["action"]), "by_hand", False))


def parse_runbook(text: str, *, source: str) -> Parsed:
    """Parse and lint a runbook. Raises InputRefusedError with every problem: line, what, how to mend."""
    if len(text) > MAX_BYTES:
        raise InputRefusedError([Problem(source, f"{len(text)} characters", f"at most {MAX_BYTES} are allowed")])
    raw = split_document(text.replace("\r\n", "\n"))
    problems = [Problem(f"{source}:{line}", what, how) for line, what, how in raw.problems]
    if raw.problems and not raw.front_matter:
        raise InputRefusedError(problems)
    front = _front_matter(raw.front_matter, source, problems)
    blocks = [parsed for block in raw.blocks if (parsed := _block(block, source, problems)) is not None]
    problems += _duplicates(raw.blocks, source)
    if front is not None and len(blocks) == len(raw.blocks) and not problems:
        problems += _Linter(front, blocks, source).problems()
    for number, line in enumerate(text.splitlines(), start=1):
        if SECRET.search(line):
            problems.append(
                Problem(
                    f"{source}:{number}",
                    "what looks like a secret",
                    "keep it with `runbook secret NAME`, write secret://NAME",
                )
            )
    if problems or front is None:
        raise InputRefusedError(problems)
    return Parsed(front, blocks, text, hashlib.sha256(text.encode()).hexdigest())


def _front_matter(text: str, source: str, problems: list[Problem]) -> FrontMatter | None:
    try:
        ((data, lines),) = load_yaml_documents("\n" + text, source=source)
        front = parse_document(FrontMatter, data, source=source, lines=lines)
    except InputRefusedError as error:
        problems += error.problems
        return None
    except ValueError:
        problems.append(Problem(f"{source}:2", "front matter of several documents", "one YAML document is allowed"))
        return None
    for name, spec in front.inputs.items():
        where = f"{source}:{lines.line_of(('inputs', name)) or 2} inputs.{name}"
        try:
            re.compile(spec.pattern)
        except re.error as error:
            problems.append(Problem(where, spec.pattern, f"a regular expression is allowed ({error})"))
        if NESTED_REPEAT.search(spec.pattern):
            problems.append(
                Problem(where, spec.pattern, "no repeat within a repeat: a hostile value would take for ever")
            )
    if front.schedule is not None:
        where = f"{source}:{lines.line_of(('schedule',)) or 2} schedule"
        if front.schedule.zone not in available_timezones():
            problems.append(Problem(f"{where}.zone", front.schedule.zone, "an IANA zone as Europe/Berlin is allowed"))
        try:
            CronSim(front.schedule.cron, database_now())
        except CronSimError as error:
            problems.append(Problem(f"{where}.cron", front.schedule.cron, f"five cron fields are allowed ({error})"))
        missing = [name for name, spec in front.inputs.items() if spec.required and spec.default is None]
        if missing:
            problems.append(
                Problem(where, f"the required input {missing[0]}", "give it a default: nobody is there to ask")
            )
    return front


def _block(block: RawBlock, source: str, problems: list[Problem]) -> dict[str, Any] | None:
    # Newlines in front make YAML's line numbers those of the file.
    try:
        loaded = load_yaml_documents("\n" * block.line + block.text, source=source)
        data, lines = loaded[0] if loaded else ({}, None)
        parsed = parse_document(BLOCKS[block.kind], data if data is not None else {}, source=source, lines=lines)
    except InputRefusedError as error:
        problems += [Problem(_placed(p.where, block, source), p.found, p.allowed) for p in error.problems]
        return None
    values = parsed.model_dump(mode="json", by_alias=True)
    if "target" in values and values.pop("target"):
        values["with"] = parsed.arguments  # type: ignore[union-attr]
    return {"kind": block.kind, "id": block.id, "line": block.line, "on_rollback": block.on_rollback, **values}


def _placed(where: str, block: RawBlock, source: str) -> str:
    path = where.partition(" ")[2]
    line = where.partition(" ")[0].removeprefix(source).strip(":") or str(block.line)
    return f"{source}:{line} {block.kind} {block.id} {path}".rstrip()


def _duplicates(raw: list[RawBlock], source: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for found in raw:
        if found.id in seen:
            yield Problem(f"{source}:{found.line}", f"the id {found.id} a second time", "give each block its own")
        seen.add(found.id)
    if not raw:
        yield Problem(source, "no executable block", "add at least one check, step, confirm or approve")


class _Linter:
    """What can only be said of the whole document."""

    def __init__(self, front: FrontMatter, blocks: list[dict[str, Any]], source: str) -> None:
        self.front, self.blocks, self.source = front, blocks, source
        self.by_id = {block["id"]: block for block in blocks}
        self.order = {block["id"]: position for position, block in enumerate(blocks)}
        self.approved = {name for block in blocks if block["kind"] == "approve" for name in block["before"]}

    def problems(self) -> Iterator[Problem]:
        for block in self.blocks:
            yield from self._references(block)
            yield from self._templates(block)
            yield from self._expressions(block)
            if block["kind"] in {"check", "step"}:
                yield from self._action(block)
            if block["kind"] == "step":
                yield from self._step(block)
            if block["kind"] == "confirm":
                yield from self._confirm(block)
        yield from self._reach()

    def at(self, block: dict[str, Any], found: str, allowed: str) -> Problem:
        return Problem(f"{self.source}:{block['line']} {block['kind']} {block['id']}", found, allowed)

    def _references(self, block: dict[str, Any]) -> Iterator[Problem]:
        for key in ("needs", "before"):
            for name in block.get(key, ()):
                if name not in self.by_id:
                    yield self.at(block, f"{key}: {name}", "name a block of this runbook")
                elif key == "before" and self.by_id[name]["kind"] != "step":
                    yield self.at(block, f"before: {name}", "an approval guards steps; name a step")
                elif key == "before" and self.order[name] < self.order[block["id"]]:
                    yield self.at(block, f"before: {name}", "put the approval above the step that it guards")
        for branch, names in block.get("branches", {}).items():
            for name in names:
                if name not in self.by_id or self.order[name] < self.order[block["id"]]:
                    yield self.at(block, f"branches.{branch}: {name}", "name blocks below this one")

    def _templates(self, block: dict[str, Any]) -> Iterator[Problem]:
        texts = [*_texts(block.get("with", {})), *_texts(block.get("expect", {}))]
        texts += [block.get(key, "") for key in ("ask", "message", "subject")]
        for text in texts:
            for found in LOOKS_LIKE_TEMPLATE.findall(text):
                match = TEMPLATE.fullmatch(found)
                if match is None:
                    yield self.at(block, found[:80], "{{ inputs.NAME }}, {{ item }} or {{ steps.ID.value }} is allowed")
                elif match["input"] and match["input"] not in self.front.inputs:
                    yield self.at(block, f"the input {match['input']}", "declare it under inputs in the front matter")
                elif match["item"] and not block.get("foreach"):
                    yield self.at(block, "{{ item }}", "it is known in a block with foreach only")
                elif match["step"]:
                    yield from self._read(block, match["step"])

    def _read(self, block: dict[str, Any], name: str) -> Iterator[Problem]:
        if name not in self.by_id:
            yield self.at(block, f"steps.{name}", "name a block of this runbook")
        elif self.order[name] >= self.order[block["id"]]:
            yield self.at(block, f"steps.{name}", "only blocks above this one have an answer yet")

    def _expressions(self, block: dict[str, Any]) -> Iterator[Problem]:
        for key in ("when", "choose"):
            text = block.get(key) or ""
            if not text:
                continue
            try:
                inputs, steps = names_used(text)
                constant = is_constant(text)
            except ExpressionError as error:
                yield self.at(block, f"{key}: {error}", "a comparison as inputs.level > 3 is allowed")
                continue
            for name in sorted(inputs - set(self.front.inputs)):
                yield self.at(block, f"the input {name}", "declare it under inputs in the front matter")
            for name in sorted(steps):
                yield from self._read(block, name)
            if key == "when" and constant is False:
                yield self.at(block, f"when: {text}", "this block is never reached; remove it or its when")

    def _action(self, block: dict[str, Any]) -> Iterator[Problem]:
        found = actions().get(block["action"])
        if found is None:
            yield self.at(block, f"the action {block['action']}", f"one of {', '.join(actions())} is allowed")
            return
        risk = _risk_of(found, block["with"])
        if block["kind"] == "check" and risk is not Risk.READ:
            yield self.at(block, f"the action {found.name} ({risk})", "a check may only look; make it a step")
        if block["kind"] == "step" and risk is Risk.READ:
            yield self.at(block, f"the action {found.name} (read)", "a step changes something; make it a check")
        yield from self._arguments(block, found)
        if not is_by_hand(block) and _DURATION.validate_python(block["timeout"]) > LONGEST:
            yield self.at(block, "timeout: more than an hour", "an action has an hour at most; only people have longer")
        if block["foreach"]:
            spec = self.front.inputs.get(block["foreach"].removeprefix("inputs."))
            if spec is None or spec.type != "list":
                yield self.at(block, f"foreach: {block['foreach']}", "name an input of type list")
        retry, idempotency = block.get("retry") or {}, idempotency_of(block)
        if block["kind"] == "step" and idempotency == "none" and {"timeout", "verify"} & set(retry.get("on", ())):
            yield self.at(
                block,
                f"retry on {', '.join(retry['on'])} of a step that may not be repeated",
                "a step whose effect may have happened is tried again only with idempotency key or natural",
            )

    def _arguments(self, block: dict[str, Any], found: Action) -> Iterator[Problem]:
        dynamic = any(LOOKS_LIKE_TEMPLATE.search(text) for text in _texts(block["with"]))
        if not dynamic:
            try:
                parse_arguments(found.name, block["with"], source="with")
            except InputRefusedError as error:
                yield from (self.at(block, f"{p.where}: {p.found}", p.allowed) for p in error.problems)
            return
        known = {field.alias or name: field for name, field in found.arguments.model_fields.items()}
        for name in sorted(set(block["with"]) - set(known)):
            yield self.at(block, f"with {name}", f"one of {', '.join(known)} is allowed")
        for name, field in known.items():
            if field.is_required() and name not in block["with"]:
                yield self.at(block, f"no {name} under with", "this argument is required")

    def _step(self, block: dict[str, Any]) -> Iterator[Problem]:
        found = actions().get(block["action"])
        risk = risk_of(block)
        is_undo = block["on_rollback"]
        if risk is Risk.DESTRUCTIVE and block["id"] not in self.approved and not is_undo:
            yield self.at(
                block, "a destructive step without approval", f"put `approve` with before: [{block['id']}] above it"
            )
        if block["risk"] and found is not None and Risk(block["risk"]) is not risk:
            yield self.at(block, f"risk: {block['risk']}", f"{found.name} is {risk} here; only more may be declared")
        if block["idempotency"] == "key" and found is not None and found.idempotency is not Idempotency.KEY:
            yield self.at(block, "idempotency: key", f"{found.name} does not know a second try by its key")
        if (
            block["idempotency"] == "natural"
            and not block["verify"]
            and found is not None
            and (found.idempotency is Idempotency.NONE)
            and found.risk is Risk.DESTRUCTIVE
        ):
            yield self.at(block, "idempotency: natural without verify", "name a check that says whether it is done")
        if block["verify"] and self.by_id.get(block["verify"], {}).get("kind") != "check":
            yield self.at(block, f"verify: {block['verify']}", "name a check of this runbook")
        elif block["verify"] and self.by_id[block["verify"]]["foreach"] != block["foreach"] != "":
            yield self.at(block, f"verify: {block['verify']}", "a check with the same foreach is allowed")
        yield from self._rollback(block)

    def _rollback(self, block: dict[str, Any]) -> Iterator[Problem]:
        name = block["rollback"]
        if not name or name == "none":
            return
        undo = self.by_id.get(name)
        if undo is None or undo["kind"] != "step" or not undo["on_rollback"]:
            yield self.at(block, f"rollback: {name}", f"name a step that begins with `step id={name} on=rollback`")
        elif undo["foreach"] and undo["foreach"] != block["foreach"]:
            yield self.at(block, f"rollback: {name}", "a step with the same foreach is allowed")
        elif block["on_rollback"]:
            yield self.at(block, f"rollback: {name}", "what undoes has no rollback of its own")

    def _confirm(self, block: dict[str, Any]) -> Iterator[Problem]:
        for answer in block["go_on"]:
            if answer not in block["answers"]:
                yield self.at(block, f"go_on: {answer}", f"one of {', '.join(block['answers'])} is allowed")

    def _reach(self) -> Iterator[Problem]:
        named = {block.get("rollback") for block in self.blocks}
        ways: dict[str, list[tuple[str, str]]] = {}
        for block in self.blocks:
            for branch, names in block.get("branches", {}).items():
                for name in names:
                    ways.setdefault(name, []).append((block["id"], branch))
        for block in self.blocks:
            if block["on_rollback"] and block["id"] not in named:
                yield self.at(block, "a step that is never reached", f"name it by rollback: {block['id']} or remove it")
            if block["on_rollback"] and block["kind"] != "step":
                yield self.at(block, "on=rollback", "only a step can undo")
            for need in block["needs"]:
                if self.by_id.get(need, {}).get("on_rollback"):
                    yield self.at(block, f"needs: {need}", "this block is never reached: that one only undoes")
                elif _exclude(ways.get(need, []), ways.get(block["id"], [])):
                    yield self.at(block, f"needs: {need}", "this block is never reached: that one is on another way")
        needs = {b["id"]: [*b["needs"], *(way for way, _ in ways.get(b["id"], []))] for b in self.blocks}
        if cycle := find_cycle(needs):
            yield self.at(self.by_id[cycle[0]], f"{' needs '.join([*cycle, cycle[0]])}", "break the circle")


def _exclude(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> bool:
    """Say whether two blocks can never both come: a decision takes them different ways."""
    decisions = {name for name, _ in one} & {name for name, _ in other}
    return any(
        not ({way for name, way in one if name == decision} & {way for name, way in other if name == decision})
        for decision in decisions
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
