"""The rules of a run, on any document and any accident: nothing is stuck, nothing is done that was not declared."""

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.machine import (
    MAX_RECOVERIES,
    SETTLED,
    Block,
    Do,
    Recovery,
    Row,
    find_cycle,
    next_move,
    recover,
    undoable,
)

IDEMPOTENCY = ("none", "key", "natural")


@dataclass
class World:
    """What is really done, counted by step, and the same effects counted by key where the far side knows keys."""

    blocks: list[Block]
    declared: dict[str, tuple[str, bool]]
    rows: dict[str, Row]
    effects: Counter[str] = field(default_factory=Counter)
    keyed: dict[str, set[int]] = field(default_factory=dict)
    generation: Counter[str] = field(default_factory=Counter)
    recoveries: Counter[str] = field(default_factory=Counter)
    undone: list[str] = field(default_factory=list)
    rolling_back: bool = False
    clock: int = 0

    def put(self, name: str, **changes: object) -> None:
        self.rows[name] = replace(self.rows[name], **changes)  # type: ignore[arg-type]

    def act(self, name: str, fate: str) -> None:
        """Take a step with a fate: ok, fail, or its process killed before, during (effect done) or after the effect."""
        idempotency, verify = self.declared[name]
        if self.rows[name].state == "started":
            decided = recover(reads=False, idempotency=idempotency, has_verify=verify, recoveries=self.recoveries[name])
            self.recoveries[name] += 1
            if decided is Recovery.UNKNOWN:
                self.put(name, state="unknown", effect=True)
                return
            if decided is Recovery.VERIFY_FIRST and self.effects[name]:
                self.put(name, state="succeeded", effect=True)
                return
        else:
            self.generation[name] += 1
        self.clock += 1
        self.put(name, state="started", began=self.rows[name].began or self.clock)
        if fate == "killed before":
            return
        if fate == "fail":
            self.put(name, state="failed")
            return
        key = self.generation[name]
        if idempotency != "key" or key not in self.keyed.setdefault(name, set()):
            self.effects[name] += 1
        self.keyed.setdefault(name, set()).add(key)
        if fate == "killed after":
            return
        self.put(name, state="succeeded", effect=True)
        if next(block for block in self.blocks if block.id == name).on_rollback:
            self.undone.append(name)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 6))
    blocks: list[Block] = []
    declared: dict[str, tuple[str, bool]] = {}
    for number in range(count):
        name = f"s{number}"
        earlier = [block.id for block in blocks if not block.on_rollback]
        needs = tuple(draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True))) if earlier else ()
        undo = f"u{number}" if draw(st.booleans()) else ""
        blocks.append(
            Block(name, "step", needs=needs, rollback=undo, goes_on_after_failure=draw(st.booleans()), when="w")
        )
        declared[name] = (draw(st.sampled_from(IDEMPOTENCY)), draw(st.booleans()))
        if undo:
            blocks.append(Block(undo, "step", on_rollback=True))
            declared[undo] = (draw(st.sampled_from(IDEMPOTENCY)), False)
    return World(blocks, declared, {block.id: Row(block.id, "pending") for block in blocks})


FATES = st.sampled_from(["ok", "ok", "ok", "fail", "killed before", "killed after"])


@settings(max_examples=400, deadline=None)
@given(worlds(), st.data())
def test_whatever_happens_a_run_ends_or_waits_for_a_person(world: World, data: st.DataObject) -> None:
    skipped = data.draw(st.sets(st.sampled_from([block.id for block in world.blocks])))
    ended = ""
    for _ in range(400):
        move = next_move(
            world.blocks,
            list(world.rows.values()),
            rolling_back=world.rolling_back,
            holds=lambda block, _row: block.id not in skipped,
        )
        if move.do is Do.END:
            ended = move.state
            break
        if move.do is Do.FAIL:
            if not undoable(world.blocks, list(world.rows.values())):
                ended = "failed"
                break
            assert not world.rolling_back, "a failure while rolling back must not begin anew"
            world.rolling_back = True
            continue
        assert move.row is not None
        if move.do is Do.PARK:
            assert world.declared[move.row.id][0] == "none" or world.recoveries[move.row.id] > MAX_RECOVERIES
            world.put(move.row.id, state=data.draw(st.sampled_from(["succeeded", "failed", "pending"])))
        elif move.do is Do.SKIP:
            assert move.reason
            world.put(move.row.id, state="skipped")
        else:
            assert move.row.state not in SETTLED
            world.act(move.row.id, data.draw(FATES))
    assert ended in {"succeeded", "failed", "rolled_back"}, "no run is stuck"
    if ended == "succeeded":
        assert all(row.state in SETTLED for row in world.rows.values() if not row.id.startswith("u")), (
            "a run that succeeded has left nothing open"
        )
    if ended == "rolled_back":
        order = [name for name, _ in undoable(world.blocks, list(world.rows.values()))]
        assert [name for name in order if name in world.undone] == [n for n in world.undone if n in order] or len(
            world.undone
        ) != len(set(world.undone))
    for name, (idempotency, _) in world.declared.items():
        if idempotency == "key":
            assert world.effects[name] <= world.generation[name], "one effect for each key"


@given(st.booleans(), st.sampled_from(IDEMPOTENCY), st.booleans(), st.integers(0, 10))
def test_nothing_that_may_not_be_repeated_is_repeated_by_itself(
    reads: bool, idempotency: str, has_verify: bool, recoveries: int
) -> None:
    decided = recover(reads=reads, idempotency=idempotency, has_verify=has_verify, recoveries=recoveries)
    if not reads and idempotency == "none":
        assert decided is Recovery.UNKNOWN
    if recoveries >= MAX_RECOVERIES:
        assert decided is Recovery.UNKNOWN
    if decided is Recovery.VERIFY_FIRST:
        assert has_verify


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6))
def test_a_circle_is_found_exactly_when_there_is_one(needs: dict[str, list[str]]) -> None:
    found = find_cycle(needs)
    for one, following in zip(found, [*found[1:], *found[:1]], strict=True):
        assert following in needs[one]
    left = {name: set(needs.get(name, ())) for name in {*needs, *(n for ns in needs.values() for n in ns)}}
    while free := [name for name, waiting in left.items() if not waiting]:
        for name in free:
            del left[name]
        for waiting in left.values():
            waiting -= set(free)
    assert bool(found) == bool(left)
