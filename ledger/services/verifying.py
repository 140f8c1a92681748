"""Verify the whole log: payloads, leaf hashes, chain, tree, checkpoints and artifacts."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_all_start_methods, get_context
from typing import Any

import django
import orjson
from django.db import connection, connections
from django.db.models import Func, Subquery, TextField
from django.db.models.functions import Cast, Coalesce

from ledger.data.log import PayloadErased, PayloadsOutlived
from ledger.domain.entries import EntryFacts, entry_leaf, outlived_range
from ledger.domain.notes import NoteRefusedError, open_rotation
from ledger.domain.tree import append_leaves, root_of_frontier
from ledger.models import Artifact, Checkpoint, KeyRotation, LedgerEntry, LogHead, PendingEntry, Seal
from ledger.services.artifacts import read_artifact
from ledger.services.checkpoints import known_keys, open_known
from ledger.services.sealing import FACT_FIELDS

# A power of two: the tree of the log is then the tree of its ranges' roots.
CHUNK = 4096
MAX_PROBLEMS = 100


_INSTANTS = {"recorded_at", "occurred_at", "period_start", "period_end"}


class _InstantText(Func):
    """An instant in the form that is hashed, written by PostgreSQL."""

    template = """to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    output_field = TextField()


@dataclass
class Verification:
    """What a verification found. `problems` names each thing that does not hold; none means that all of it does."""

    entries: int = 0
    erased: int = 0
    pending: int = 0
    checkpoints: int = 0
    artifacts: int = 0
    root: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Say whether everything held."""
        return not self.problems

    def add(self, problem: str) -> None:
        """Note a problem, up to MAX_PROBLEMS of them."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


@dataclass(frozen=True)
class _Job:
    origin: str
    start: int
    end: int
    checkpoint_sizes: tuple[int, ...]


@dataclass(frozen=True)
class _Range:
    """What a range of entries comes to: its frontier at its end and at each checkpoint within."""

    count: int
    frontier: list[bytes]
    at_checkpoints: dict[int, list[bytes]]
    erased: int
    gone: list[tuple[int, int]]
    problems: list[str]


def verify_log(
    *, processes: int = 1, artifacts: bool = True, progress: Callable[[int], None] | None = None
) -> Verification:
    """Verify everything that is sealed and return what was found. Entries that are not sealed yet are counted.

    `progress` is told how many entries were read so far.
    """
    found = Verification(pending=PendingEntry.objects.count())
    head = LogHead.objects.filter(pk=1).first()
    size, origin = (head.size, head.origin) if head else (0, "")
    checkpoints: dict[int, list[Checkpoint]] = {}
    for checkpoint in Checkpoint.objects.filter(size__lte=size):
        checkpoints.setdefault(checkpoint.size, []).append(checkpoint)
    # Perfect subtrees left of the range at hand: of its whole ranges' roots, then those within the range.
    whole: list[bytes] = []
    frontier: list[bytes] = []
    gone: list[tuple[int, int]] = []
    for number, part in enumerate(_ranges(size, origin, sorted(checkpoints), processes)):
        found.entries += part.count
        found.erased += part.erased
        gone += part.gone
        for problem in part.problems:
            found.add(problem)
        for at, inner in part.at_checkpoints.items():
            for checkpoint in checkpoints[at]:
                _check_checkpoint(found, checkpoint, root_of_frontier([*whole, *inner]))
        frontier = [*whole, *part.frontier]
        if part.count == CHUNK:
            whole, _ = append_leaves(whole, number, part.frontier)
            frontier = whole
        if progress is not None:
            progress(found.entries)
    _check_ends(found, head, frontier)
    found.root = root_of_frontier(frontier).hex()
    _check_keys(found, origin)
    _check_tombstones(found)
    _check_outlived(found, gone)
    if artifacts:
        _check_artifacts(found)
    return found


def _check_ends(found: Verification, head: LogHead | None, frontier: list[bytes]) -> None:
    """Check what the ranges cannot see: seals beyond the head, checkpoints beyond it, entries that lost their place.

    The log may have grown since `head` was read: what is beyond is asked of the head of the same instant.
    """
    size = head.size if head else 0
    size_now = Coalesce(Subquery(LogHead.objects.filter(pk=1).values("size")[:1]), 0)
    known, beyond = Seal.objects.filter(seq__lt=size).count(), Seal.objects.filter(seq__gte=size_now).count()
    if known != size or beyond:
        found.add(f"the log's head says {size} entries; {known + beyond} seals are there")
    if lost := LedgerEntry.objects.filter(seal__isnull=True, pending__isnull=True).count():
        found.add(f"{lost} entries have no place in the log and none is due to them")
    for ahead in Checkpoint.objects.filter(size__gt=size_now).values_list("size", flat=True):
        found.add(f"a checkpoint says {ahead} entries; the log has {size}: its tail was cut")
    if head and head.frontier != [value.hex() for value in frontier]:
        found.add("the stored tree is not that of the entries")


def _ranges(size: int, origin: str, checkpoints: list[int], processes: int) -> Iterator[_Range]:
    jobs = [
        _Job(
            origin=origin,
            start=start,
            end=min(start + CHUNK, size),
            checkpoint_sizes=tuple(at for at in checkpoints if start < at <= min(start + CHUNK, size)),
        )
        for start in range(0, size, CHUNK)
    ]
    if processes <= 1 or len(jobs) <= 1:
        yield from map(_verify_range, jobs)
        return
    connections.close_all()
    # A fork starts at once; it is safe only while no other thread holds a lock.
    alone = threading.active_count() == 1 and "fork" in get_all_start_methods()
    context = get_context("fork" if alone else "spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=None if alone else django.setup) as pool:
        yield from pool.map(_verify_range, jobs)


def _verify_range(job: _Job) -> _Range:
    """Verify a range of entries; its chain starts at the stored leaf hash before it, which its own range verifies."""
    before = Seal.objects.filter(seq=job.start - 1).values_list("leaf_hash", flat=True).first() if job.start else b""
    previous = bytes(before or b"")
    expected = job.start
    problems: list[str] = []
    leaves: list[bytes] = []
    erased = 0
    gone: list[tuple[int, int]] = []
    for (seq, stored, nonce, body, erased_at), facts in _rows(job.start, job.end):
        if seq != expected:
            problems.append(f"entry {expected} is missing")
            expected = seq
        expected += 1
        if nonce is None:
            erased += 1
            gone.append((gone.pop()[0] if gone and gone[-1][1] == seq - 1 else seq, seq))
        elif erased_at is not None:
            erased += 1
        elif hashlib.sha256(bytes(nonce) + bytes(body)).hexdigest() != facts.payload_sha256:
            problems.append(f"entry {seq}: its payload is not the one that was recorded")
        kept = bytes(stored)
        if entry_leaf(facts, origin=job.origin, seq=seq, previous=previous) != kept:
            problems.append(f"entry {seq}: the entry or the one before it is not the one that was sealed")
        leaves.append(kept)
        previous = kept
    if expected != job.end:
        problems.append(f"entries {expected} to {job.end - 1} are missing")
    frontier: list[bytes] = []
    done = 0
    at_checkpoints: dict[int, list[bytes]] = {}
    for at in job.checkpoint_sizes:
        frontier, _ = append_leaves(frontier, done, leaves[done : at - job.start])
        done = min(at - job.start, len(leaves))
        at_checkpoints[at] = frontier
    frontier, _ = append_leaves(frontier, done, leaves[done:])
    return _Range(
        count=len(leaves),
        frontier=frontier,
        at_checkpoints=at_checkpoints,
        erased=erased,
        gone=gone,
        problems=problems,
    )


def _rows(start: int, end: int) -> Iterator[tuple[tuple[Any, ...], EntryFacts]]:
    """Return seals with their entries. The database writes instants as text; as objects they are half the cost."""
    sqlite = connection.vendor == "sqlite"
    fields: list[Any] = [
        "seq",
        "leaf_hash",
        "entry__content__nonce",
        "entry__content__body",
        "entry__content__erased_at",
    ]
    for name in FACT_FIELDS:
        if name in _INSTANTS:
            fields.append(Cast(f"entry__{name}", TextField()) if sqlite else _InstantText(f"entry__{name}"))
        elif name == "artifacts":
            fields.append(Cast(f"entry__{name}", TextField()))
        else:
            fields.append(f"entry__{name}")
    for row in Seal.objects.filter(seq__gte=start, seq__lt=end).order_by("seq").values_list(*fields):
        kind, version, evidence, actor, subject, *instants, digest, artifacts = row[5:]
        if sqlite:
            instants = [_iso(text) for text in instants]
        listed = [] if artifacts == "[]" else orjson.loads(artifacts)
        yield row[:5], EntryFacts._make((kind, version, evidence, actor, subject, *instants, digest, listed))


def _iso(stored: str | None) -> str | None:
    """Return an instant as SQLite keeps it (`2026-01-31 12:00:00.5`, in UTC) in the form that is hashed."""
    if stored is None:
        return None
    day, _, clock = stored.partition(" ")
    return f"{day}T{clock}Z" if "." in clock else f"{day}T{clock}.000000Z"


def _check_checkpoint(found: Verification, checkpoint: Checkpoint, root: bytes) -> None:
    found.checkpoints += 1
    try:
        head = open_known(checkpoint.note)
    except NoteRefusedError as error:
        found.add(f"checkpoint at {checkpoint.size}: {error}")
        return
    if head.size != checkpoint.size or head.root != root:
        found.add(f"checkpoint at {checkpoint.size}: the log no longer has the root that was signed")


def _check_keys(found: Verification, origin: str) -> None:
    """Check that each key was handed over to the next by a note that both have signed."""
    rotations = list(KeyRotation.objects.all())
    for rotation in rotations:
        try:
            open_rotation(rotation.note, name=origin)
        except NoteRefusedError as error:
            found.add(f"key rotation at {rotation.size}: {error}")
    if rotations and len(known_keys()) != len(rotations) + 1:
        found.add("the key in use does not follow from the keys before it")


def _check_tombstones(found: Verification) -> None:
    """Check that each erased payload has its tombstone in the log."""
    if not found.erased:
        return
    subjects = set(LedgerEntry.objects.filter(entry_type=PayloadErased.entry_type).values_list("subject", flat=True))
    erased = Seal.objects.filter(entry__content__erased_at__isnull=False).values_list("seq", flat=True)
    for seq in erased.iterator():
        if f"entry:{seq}" not in subjects:
            found.add(f"entry {seq}: its payload was erased, and no tombstone says by whom")


def _check_outlived(found: Verification, gone: list[tuple[int, int]]) -> None:
    """Check that each payload that is gone is of a range of which the log says that its time was over."""
    said = _outlived_ranges() if gone else []
    for first, last in gone:
        if not any(start <= first and last <= end for start, end in said):
            which = f"entry {first}: its payload is" if first == last else f"entries {first} to {last}: payloads are"
            found.add(f"{which} gone, and no entry says that their time was over")


def _outlived_ranges() -> list[tuple[int, int]]:
    """Return the first and last places whose payloads went because their time was over, in order, without overlaps."""
    named = LedgerEntry.objects.filter(entry_type=PayloadsOutlived.entry_type).values_list("subject", flat=True)
    ranges = sorted(outlived_range(subject) for subject in named)
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _check_artifacts(found: Verification) -> None:
    for digest in Artifact.objects.values_list("sha256", flat=True).iterator():
        found.artifacts += 1
        content = read_artifact(digest)
        if content is None:
            found.add(f"artifact {digest}: the file is gone")
        elif hashlib.sha256(content).hexdigest() != digest:
            found.add(f"artifact {digest}: the file was changed")
