"""A runbook as its pages show it: prose, commands to copy, and blocks with their risk, arguments and steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from django.utils.safestring import SafeString, mark_safe

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from drivers.services import actions
from runbooks.data import ENDED, UNKNOWN_EXITS, PlannedBlock, StepState
from runbooks.domain.rendering import Piece, pieces_of
from runbooks.models import FenceTick, OutputLine, RunbookRun, RunStep, StepAttempt
from runbooks.services import is_by_hand, resolve_arguments, risk_of
from runbooks.services.arguments import fill, known_steps

SETTLED = frozenset({StepState.SUCCEEDED, StepState.SKIPPED})
LINES_SHOWN = 40
ICONS = {
    "check": "eye",
    "step": "tool",
    "confirm": "help-circle",
    "approve": "user-check",
    "notify": "send",
    "wait": "hourglass",
    "decide": "git-branch",
}
EXITS = {
    "done": "It is done",
    "verify": "Look by its check",
    "retry": "Try again",
    "rollback": "Roll back",
}


@dataclass(frozen=True)
class ShownAttempt:
    """A try with the last lines that it said."""

    attempt: StepAttempt
    lines: Sequence[OutputLine] = ()
    output: str = ""

    @property
    def lasted(self) -> timedelta | None:
        """How long it took, once it has ended."""
        return self.attempt.finished_at - self.attempt.started_at if self.attempt.finished_at else None


@dataclass(frozen=True)
class ShownStep:
    """A step of a run: how it stands, what it is given, and what the reader may answer."""

    step: RunStep
    arguments: Sequence[tuple[str, object]] = ()
    text: str = ""
    attempts: Sequence[ShownAttempt] = ()
    asks: str = ""
    answers: Sequence[tuple[str, str]] = ()
    evidence: str = ""
    refusal: str = ""
    may_break_glass: bool = False

    @property
    def address(self) -> str:
        """How an answer names it."""
        return f"{self.step.step_id}[{self.step.item_index + 1}]" if self.step.item else self.step.step_id

    @property
    def key(self) -> str:
        """Its name as an element of the page."""
        return f"{self.step.step_id}-{self.step.item_index}"

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do here."""
        return self.step.state in SETTLED

    @property
    def is_current(self) -> bool:
        """Whether this is where the run stands."""
        return self.step.state in {StepState.STARTED, StepState.VERIFYING, StepState.WAITING, StepState.UNKNOWN}


@dataclass(frozen=True)
class Shown:
    """A piece of the document as the page shows it."""

    html: SafeString | str = ""
    code: str = ""
    position: int = 0
    tick: FenceTick | None = None
    block: dict[str, Any] | None = None
    title: str = ""
    icon: str = ""
    risk: str = ""
    approvers: str = ""
    arguments: Sequence[tuple[str, object]] = ()
    planned: Sequence[PlannedBlock] = ()
    steps: Sequence[ShownStep] = field(default_factory=tuple)

    @property
    def is_settled(self) -> bool:
        """Whether every step of the block is done with."""
        return bool(self.steps) and all(one.is_settled for one in self.steps)

    @property
    def is_current(self) -> bool:
        """Whether the run stands here."""
        return any(one.is_current for one in self.steps)

    @property
    def state(self) -> str:
        """The state of the block: that of its step, or of the one that matters most of several."""
        for wanted in (StepState.UNKNOWN, StepState.FAILED, StepState.TIMED_OUT, StepState.WAITING, StepState.STARTED):
            if any(one.step.state == wanted for one in self.steps):
                return str(wanted)
        unsettled = next((one for one in self.steps if not one.is_settled), None)
        return str((unsettled or self.steps[0]).step.state) if self.steps else ""


def shown_document(
    source: str, blocks: Sequence[Mapping[str, Any]], *, planned: Iterable[PlannedBlock] = ()
) -> list[Shown]:
    """Return a document as it reads outside a run; `planned` adds what each block would do."""
    by_id = {block["id"]: dict(block) for block in blocks}
    plans: dict[str, list[PlannedBlock]] = {}
    for one in planned:
        plans.setdefault(one.id, []).append(one)
    return [
        _shown(piece, by_id, planned=plans.get(piece.block_id, [])) for piece in pieces_of(source) if _is_known(piece)
    ]


def shown_run(
    run: RunbookRun,
    *,
    viewer: Principal,
    lines: Sequence[OutputLine],
    ticks: Mapping[int, FenceTick],
) -> list[Shown]:
    """Return a run as the same document filling in."""
    by_id = {block["id"]: block for block in run.revision.blocks}
    rows: dict[str, list[RunStep]] = {}
    for step in run.steps.all():
        rows.setdefault(step.step_id, []).append(step)
    said: dict[int, list[OutputLine]] = {}
    for line in lines:
        said.setdefault(line.attempt_id, []).append(line)
    return [
        _shown(
            piece,
            by_id,
            steps=[_step(run, step, by_id[step.step_id], viewer, said) for step in rows.get(piece.block_id, [])],
            tick=ticks.get(piece.position) if piece.code else None,
        )
        for piece in pieces_of(run.revision.source)
        if _is_known(piece)
    ]


def _is_known(piece: Piece) -> bool:
    return bool(piece.html or piece.code or piece.block_id)


def _shown(
    piece: Piece,
    blocks: Mapping[str, dict[str, Any]],
    *,
    planned: Sequence[PlannedBlock] = (),
    steps: Sequence[ShownStep] = (),
    tick: FenceTick | None = None,
) -> Shown:
    if piece.code:
        return Shown(code=piece.code, position=piece.position, tick=tick)
    block = blocks.get(piece.block_id)
    if block is None:
        return Shown(html=mark_safe(piece.html))  # noqa: S308 sanitized by runbooks.domain.rendering  # nosec B308, B703
    acts = block["kind"] in {"check", "step"}
    guards = [one for one in blocks.values() if one["kind"] == "approve" and block["id"] in one["before"]]
    return Shown(
        block=block,
        title=block["id"].replace("-", " ").capitalize(),
        icon=ICONS[block["kind"]],
        risk=risk_of(block).value if acts and block["action"] in actions() else "",
        approvers=_who(block if block["kind"] == "approve" else guards[0] if guards else None),
        arguments=_written(block.get("with") or {}),
        planned=planned,
        steps=steps,
    )


def _written(arguments: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
    return tuple(
        (name, orjson.dumps(value).decode() if isinstance(value, dict | list) else value)
        for name, value in arguments.items()
    )


def _who(guard: Mapping[str, Any] | None) -> str:
    if guard is None:
        return ""
    wanted = guard.get("approvers") or {}
    count, named = wanted.get("count", 1), wanted.get("from") or []
    who = f"{'one' if count == 1 else count} of {', '.join(named)}" if named else f"{'an' if count == 1 else count}"
    return f"{who}{'' if named else ' approver' if count == 1 else ' approvers'} other than who runs it"


def _step(
    run: RunbookRun, step: RunStep, block: dict[str, Any], viewer: Principal, said: Mapping[int, list[OutputLine]]
) -> ShownStep:
    attempts = tuple(
        ShownAttempt(one, said.get(one.pk, [])[-LINES_SHOWN:], _short(one.output)) for one in step.attempts.all()
    )
    acts = block["kind"] in {"check", "step"}
    arguments = resolve_arguments(run, block, item=step.item) if acts else {}
    words = block.get("ask") or block.get("message") or ""
    text = fill(words, inputs=run.inputs, steps=known_steps(run, words), item=step.item) if words else ""
    common: dict[str, Any] = {
        "step": step,
        "arguments": _written(arguments),
        "text": str(text),
        "attempts": attempts,
    }
    if run.state in ENDED or step.state not in {StepState.WAITING, StepState.UNKNOWN} or step.kind == "wait":
        return ShownStep(**common)
    team_id = run.revision.runbook.team_id
    may_run = viewer.may(Capability.RUNBOOK_RUN, team_id=team_id)
    if step.kind == "approve":
        if not viewer.may(Capability.APPROVE, team_id=team_id):
            return ShownStep(**common, refusal="Waits for an approver.", may_break_glass=may_run)
        if any(is_same_person(viewer, reference=one) for one in {run.operator, *(run.operated_by or ())}):
            return ShownStep(**common, refusal="Waits for somebody else: you run it, or did.", may_break_glass=may_run)
        return ShownStep(**common, asks="approve", may_break_glass=may_run)
    if not may_run:
        return ShownStep(**common, refusal="Waits for a responder.")
    asks, answers = _question(step, block)
    evidence = {"manual": "optional", "confirm": block.get("evidence", "")}.get(asks, "")
    return ShownStep(**common, asks=asks, answers=answers, evidence=evidence)


def _question(step: RunStep, block: dict[str, Any]) -> tuple[str, Sequence[tuple[str, str]]]:
    if step.state == StepState.UNKNOWN:
        exits = [name for name in UNKNOWN_EXITS if name != "verify" or block.get("verify")]
        return "unknown", [(name, EXITS[name]) for name in exits]
    if step.kind == "step" and is_by_hand(block):
        return "manual", [("done", "Done"), ("failed", "It did not work")]
    if step.kind == "step":
        return "release", [("go", "Let it go on"), ("failed", "Do not do it")]
    answers = list(block["branches"]) if step.kind == "decide" else block["answers"]
    return step.kind, [(answer, answer.replace("-", " ").capitalize()) for answer in answers]


def _short(output: Mapping[str, Any]) -> str:
    value = output.get("value")
    return "" if value is None else str(value)[:200]
