"""Verify the whole log: payloads, leaf hashes, chain, tree, checkpoints and artifacts."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

import django
from django.db import connections

from ledger.domain.entries import entry_leaf
from ledger.domain.notes import NoteRefusedError, open_checkpoint
from ledger.domain.tree import append_leaves, root_of_frontier
from ledger.models import Artifact, Checkpoint, EntryContent, LogHead, Seal
from ledger.services.artifacts import read_artifact
from ledger.services.checkpoints import public_key
from ledger.services.sealing import facts_of, log_origin

CHUNK = 2_000
MAX_PROBLEMS = 100


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


@dataclass(frozen=True)
class _Range:
    leaves: list[bytes]
    erased: int
    problems: list[str]


def verify_log(*, processes: int = 1, artifacts: bool = True) -> Verification:
    """Verify everything that is sealed and return what was found. Entries that are not sealed yet are counted."""
    found = Verification(pending=EntryContent.objects.filter(sealed=False).count())
    head = LogHead.objects.filter(pk=1).first()
    size = head.size if head else 0
    known = Seal.objects.count()
    if known != size:
        found.problems.append(f"the log's head says {size} entries; {known} seals are there")
    checkpoints = {checkpoint.size: checkpoint for checkpoint in Checkpoint.objects.order_by("size")}
    frontier: list[bytes] = []
    position = 0
    for part in _ranges(size, processes):
        found.erased += part.erased
        found.problems.extend(part.problems[: MAX_PROBLEMS - len(found.problems)])
        for leaf in part.leaves:
            frontier, _ = append_leaves(frontier, position, [leaf])
            position += 1
            if position in checkpoints:
                _check_checkpoint(found, checkpoints[position], root_of_frontier(frontier))
    for beyond in checkpoints:
        if beyond > position:
            found.problems.append(f"a checkpoint says {beyond} entries; the log has {position}: its tail was cut")
    if head and head.frontier != [value.hex() for value in frontier]:
        found.problems.append("the stored tree is not that of the entries")
    found.entries = position
    found.root = root_of_frontier(frontier).hex()
    if artifacts:
        _check_artifacts(found)
    return found


def _ranges(size: int, processes: int) -> Iterator[_Range]:
    bounds = [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
    if processes <= 1 or len(bounds) <= 1:
        yield from (_verify_range(start, end) for start, end in bounds)
        return
    connections.close_all()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=django.setup) as pool:
        yield from pool.map(_verify_range, *zip(*bounds, strict=True))


def _verify_range(start: int, end: int) -> _Range:
    """Verify the entries from `start` to `end - 1` and return their leaf hashes as recomputed."""
    origin = log_origin()
    problems: list[str] = []
    leaves: list[bytes] = []
    erased = 0
    before = Seal.objects.filter(seq=start - 1).values_list("leaf_hash", flat=True).first() if start else b""
    previous = bytes(before or b"")
    expected = start
    seals = Seal.objects.select_related("entry", "entry__content").filter(seq__gte=start, seq__lt=end).order_by("seq")
    for seal in seals.iterator(chunk_size=CHUNK):
        if seal.seq != expected:
            problems.append(f"entry {expected} is missing")
            expected = seal.seq
        expected += 1
        content = seal.entry.content
        if content.erased_at is not None:
            erased += 1
        elif hashlib.sha256(bytes(content.nonce) + bytes(content.body)).hexdigest() != seal.entry.payload_sha256:
            problems.append(f"entry {seal.seq}: its payload is not the one that was recorded")
        leaf = entry_leaf(facts_of(seal.entry), origin=origin, seq=seal.seq, previous=previous)
        if leaf != bytes(seal.leaf_hash):
            problems.append(f"entry {seal.seq}: the entry or the one before it is not the one that was sealed")
        leaves.append(bytes(seal.leaf_hash))
        previous = bytes(seal.leaf_hash)
    if expected != end:
        problems.append(f"entries {expected} to {end - 1} are missing")
    return _Range(leaves=leaves, erased=erased, problems=problems)


def _check_checkpoint(found: Verification, checkpoint: Checkpoint, root: bytes) -> None:
    found.checkpoints += 1
    try:
        head = open_checkpoint(checkpoint.note, name=log_origin(), public=public_key())
    except NoteRefusedError as error:
        found.problems.append(f"checkpoint at {checkpoint.size}: {error}")
        return
    if head.size != checkpoint.size or head.root != root:
        found.problems.append(f"checkpoint at {checkpoint.size}: the log no longer has the root that was signed")


def _check_artifacts(found: Verification) -> None:
    for artifact in Artifact.objects.iterator():
        found.artifacts += 1
        content = read_artifact(artifact.sha256)
        if content is None:
            found.problems.append(f"artifact {artifact.sha256}: the file is gone")
        elif hashlib.sha256(content).hexdigest() != artifact.sha256:
            found.problems.append(f"artifact {artifact.sha256}: the file was changed")
