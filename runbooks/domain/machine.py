"""What a run does next, and what becomes of a try whose process died: pure rules over the rows of a run.

The rules are those of a write-ahead state machine: a try is a row before it is an effect, so that whoever comes next
can tell *never begun*, *done* and *nobody knows* apart, and goes on by what the step declares.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SETTLED = frozenset({"succeeded", "failed", "skipped"})
MAX_RECOVERIES = 5


class Do(StrEnum):
    """What to do next."""

    TAKE = "take"
    SKIP = "skip"
    PARK = "park"
    FAIL = "fail"
    END = "end"


@dataclass(frozen=True)
class Block:
    """What the rules need to know of a block."""

    id: str
    kind: str
    needs: tuple[str, ...] = ()
    when: str = ""
    on_rollback: bool = False
    rollback: str = ""
    goes_on_after_failure: bool = False
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Block":
        """Return the block as a revision holds it."""
        rollback = stored.get("rollback") or ""
        return cls(
            id=stored["id"],
            kind=stored["kind"],
            needs=tuple(stored.get("needs") or ()),
            when=stored.get("when") or "",
            on_rollback=bool(stored.get("on_rollback")),
            rollback="" if rollback == "none" else rollback,
            goes_on_after_failure=stored.get("on_failure") == "continue",
            branches={name: tuple(ids) for name, ids in (stored.get("branches") or {}).items()},
        )


@dataclass(frozen=True)
class Row:
    """Where a block stands in a run; a block with `foreach` has one row per item.

    `effect`: something of it may have happened outside. `began` orders effects; rolling back goes the other way.
    """

    id: str
    state: str
    item: int = 0
    effect: bool = False
    began: int = 0
    answer: str = ""


@dataclass(frozen=True)
class Move:
    """The next thing to do, on which row, and why."""

    do: Do
    row: Row | None = None
    reason: str = ""
    state: str = ""


def next_move(
    blocks: Sequence[Block],
    rows: Sequence[Row],
    *,
    rolling_back: bool,
    holds: Callable[[Block, Row], bool],
) -> Move:
    """Return what comes next. `holds` answers a block's `when`; it may raise ValueError, which fails the row.

    1. A row whose outcome nobody knows waits for a person, whatever else there is.
    2. A failure that is not tolerated ends the way forward.
    3. Otherwise the first block in the order of the document whose needs are settled is next.
    """
    unknown = next((row for row in rows if row.state == "unknown"), None)
    if unknown is not None:
        return Move(Do.PARK, unknown, "its outcome is unknown; a person must say")
    if rolling_back:
        return _back(blocks, rows)
    by_id = {block.id: block for block in blocks}
    for row in rows:
        block = by_id[row.id]
        if row.state == "failed" and not block.goes_on_after_failure and not block.on_rollback:
            return Move(Do.FAIL, row, f"{row.id} failed")
    return _forward(blocks, rows, holds)


def undoable(blocks: Sequence[Block], rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the rows (block id, item) that undo what may have happened, the latest effect first, each once."""
    by_id = {block.id: block for block in blocks}
    happened = sorted(
        (row for row in rows if row.effect and by_id[row.id].rollback), key=lambda row: row.began, reverse=True
    )
    return list(dict.fromkeys((by_id[row.id].rollback, row.item) for row in happened))


def _back(blocks: Sequence[Block], rows: Sequence[Row]) -> Move:
    found = {(row.id, row.item): row for row in rows}
    order = undoable(blocks, rows)
    for key in order:
        row = found.get(key) or found.get((key[0], 0))
        if row is not None and row.state not in SETTLED:
            return Move(Do.TAKE, row)
    failed = [name for name, item in order if (found.get((name, item)) or found[(name, 0)]).state == "failed"]
    if failed:
        return Move(Do.END, None, f"rolling back failed at {', '.join(failed)}", "failed")
    return Move(Do.END, None, "what was done is undone", "rolled_back")


def _forward(  # noqa: PLR0911 one return for each rule
    blocks: Sequence[Block], rows: Sequence[Row], holds: Callable[[Block, Row], bool]
) -> Move:
    states: dict[str, list[Row]] = {}
    for row in rows:
        states.setdefault(row.id, []).append(row)
    deferred: list[str] = []
    for block in blocks:
        open_rows = [row for row in states.get(block.id, []) if row.state not in SETTLED]
        if block.on_rollback or not open_rows:
            continue
        row = open_rows[0]
        if row.state != "pending":
            return Move(Do.TAKE, row)
        standing, why = _standing(block, blocks, states)
        if standing is None:
            deferred.append(block.id)
            continue
        if not standing:
            return Move(Do.SKIP, row, why)
        try:
            if block.when and not holds(block, row):
                return Move(Do.SKIP, row, f"not needed: {block.when}")
        except ValueError as error:
            return Move(Do.FAIL, row, str(error))
        return Move(Do.TAKE, row)
    if deferred:
        return Move(Do.END, None, f"{', '.join(deferred)} wait for each other", "failed")
    return Move(Do.END, None, "every step is done", "succeeded")


def _standing(block: Block, blocks: Sequence[Block], states: Mapping[str, list[Row]]) -> tuple[bool | None, str]:
    """Say whether a block may come (True), will not (False, why), or must wait for another (None)."""
    for need in block.needs:
        found = states.get(need, [])
        if any(row.state not in SETTLED for row in found):
            return None, ""
        if any(row.state != "succeeded" for row in found):
            return False, f"needs {need}, which did not succeed"
    for other in blocks:
        if not any(block.id in ids for ids in other.branches.values()):
            continue
        (choice,) = states.get(other.id) or (None,)
        if choice is None or choice.state not in SETTLED:
            return None, ""
        if choice.state == "skipped" or block.id not in other.branches.get(choice.answer, ()):
            return False, f"{other.id} took the way {choice.answer or 'of neither'}"
    return True, ""


class Recovery(StrEnum):
    """What to do about a try whose process died between its row and its result."""

    REPEAT = "repeat"
    SAME_KEY = "same_key"
    VERIFY_FIRST = "verify_first"
    UNKNOWN = "unknown"


def recover(*, reads: bool, idempotency: str, has_verify: bool, recoveries: int) -> Recovery:
    """Decide by declared semantics, never blindly. A step that has killed its process again and again is unknown."""
    if recoveries >= MAX_RECOVERIES:
        return Recovery.UNKNOWN
    if reads:
        return Recovery.REPEAT
    if idempotency == "key":
        return Recovery.SAME_KEY
    if idempotency == "natural":
        return Recovery.VERIFY_FIRST if has_verify else Recovery.SAME_KEY
    return Recovery.UNKNOWN


def find_cycle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return blocks that wait for each other, in order, or nothing."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for need in needs.get(name, ()):
            if found := visit(need, [*path, name]):
                return found
        done.add(name)
        return []

    for name in needs:
        if found := visit(name, []):
            return found
    return []
