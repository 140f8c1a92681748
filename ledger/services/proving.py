"""Proofs that an entry is in the log, and that a later log holds an earlier one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.domain.entries import entry_leaf
from ledger.domain.tree import (
    Fetch,
    Node,
    consistency_ranges,
    inclusion_ranges,
    range_nodes,
    root_from_inclusion,
    root_of_frontier,
)
from ledger.models import Checkpoint, LedgerEntry, LogHead, Seal, TreeNode
from ledger.services.sealing import facts_of, log_origin

CHUNK = 500


class NotInLogError(LookupError):
    """The log has no such entry, or not as many."""


def prove_inclusion(seq: int, *, size: int) -> list[bytes]:
    """Return the audit path of an entry in the log of `size` entries, in two queries. Raises NotInLogError."""
    if not 0 <= seq < size or size > _log_size():
        raise NotInLogError(f"entry {seq} is not in a log of {size} entries")
    return _roots(inclusion_ranges(seq, size))


def prove_many(seqs: Sequence[int], *, size: int) -> dict[int, list[bytes]]:
    """Return the audit paths of several entries; their nodes are read together. Raises NotInLogError."""
    if seqs and not (0 <= min(seqs) <= max(seqs) < size <= _log_size()):
        raise NotInLogError(f"not all of these entries are in a log of {size} entries")
    ranges = {seq: inclusion_ranges(seq, size) for seq in seqs}
    fetch = _fetcher(set().union(*(_nodes(found) for found in ranges.values())))
    return {seq: _roots(found, fetch) for seq, found in ranges.items()}


def prove_consistency(old: int, new: int) -> list[bytes]:
    """Return the proof that the log of `new` entries begins with the log of `old`. Raises NotInLogError."""
    if not 0 < old <= new or new > _log_size():
        raise NotInLogError(f"no log of {old} and of {new} entries")
    return _roots(consistency_ranges(old, new))


def root_at(size: int) -> bytes:
    """Return the root over the first `size` entries, from the stored hashes. Raises NotInLogError."""
    if not 0 < size <= _log_size():
        raise NotInLogError(f"the log has no {size} entries")
    return _roots([(0, size)])[0]


def _log_size() -> int:
    head = LogHead.objects.filter(pk=1).only("size").first()
    return head.size if head else 0


def _nodes(ranges: list[tuple[int, int]]) -> set[Node]:
    return {node for start, end in ranges for node in range_nodes(start, end)}


def _roots(ranges: list[tuple[int, int]], fetch: Fetch | None = None) -> list[bytes]:
    fetch = fetch or _fetcher(_nodes(ranges))
    return [root_of_frontier([fetch(node) for node in range_nodes(start, end)]) for start, end in ranges]


def _fetcher(nodes: set[Node]) -> Fetch:
    leaves = [index for level, index in nodes if level == 0]
    positions = [(index << 6) | level for level, index in nodes if level]
    found: dict[Node, bytes] = {}
    for start in range(0, len(leaves), CHUNK):
        seals = Seal.objects.filter(seq__in=leaves[start : start + CHUNK]).values_list("seq", "leaf_hash")
        found |= {(0, seq): bytes(value) for seq, value in seals}
    for start in range(0, len(positions), CHUNK):
        kept = TreeNode.objects.filter(position__in=positions[start : start + CHUNK]).values_list("position", "hash")
        found |= {(position & 63, position >> 6): bytes(value) for position, value in kept}
    return found.__getitem__


@dataclass(frozen=True)
class ExplainedProof:
    """Whether an entry's place in the log holds, looked at now, in words. `state` is verified, broken or unsealed."""

    state: str
    sentences: tuple[str, ...]
    leaf: str = ""
    path: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None


def explain_proof(entry: LedgerEntry) -> ExplainedProof:
    """Verify one entry against the newest checkpoint that covers it, and say what was found."""
    seq = entry.seq
    if seq is None:
        return ExplainedProof("unsealed", ("It waits for its place in the log; it gets one within seconds.",))
    before = Seal.objects.filter(seq=seq - 1).values_list("leaf_hash", flat=True).first()
    leaf = entry_leaf(facts_of(entry), origin=log_origin(), seq=seq, previous=bytes(before or b""))
    said: list[str] = []
    holds = leaf == bytes(entry.seal.leaf_hash)
    said.append(
        f"Its fields and the entry before it give the hash that was sealed as number {seq}."
        if holds
        else f"Its fields or the entry before it were changed after it was sealed as number {seq}."
    )
    content = entry.kept_content
    if content is None:
        said.append(f"Its payload was {entry.content_gone}; the entry still proves that there was one, and when.")
    elif hashlib.sha256(bytes(content.nonce) + bytes(content.body)).hexdigest() == entry.payload_sha256:
        said.append("Its payload is the one that was recorded.")
    else:
        holds = False
        said.append("Its payload is not the one that was recorded.")
    checkpoint = Checkpoint.objects.filter(size__gt=seq).first()
    if checkpoint is None:
        said.append("No checkpoint covers it yet; one is signed every hour.")
        return ExplainedProof("unsealed" if holds else "broken", tuple(said), leaf=leaf.hex())
    path = prove_inclusion(seq, size=checkpoint.size)
    if root_from_inclusion(leaf, seq, checkpoint.size, path) == bytes(checkpoint.root):
        said.append(f"{len(path)} hashes lead from it to the root that was signed over {checkpoint.size} entries.")
    else:
        holds = False
        said.append(f"It does not lead to the root that was signed over {checkpoint.size} entries.")
    return ExplainedProof(
        "verified" if holds else "broken",
        tuple(said),
        leaf=leaf.hex(),
        path=tuple(value.hex() for value in path),
        checkpoint=checkpoint,
    )
