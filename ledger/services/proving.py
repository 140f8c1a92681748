"""Proofs that an entry is in the log, and that a later log holds an earlier one."""

from collections.abc import Sequence

from ledger.domain.tree import Fetch, Node, consistency_ranges, inclusion_ranges, range_nodes, root_of_frontier
from ledger.models import LogHead, Seal, TreeNode

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
