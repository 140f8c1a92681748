"""Proofs that an entry is in the log, and that a later log holds an earlier one."""

from collections.abc import Callable

from ledger.domain.tree import Node, consistency_ranges, inclusion_ranges, range_nodes, root_of_frontier
from ledger.models import LogHead, Seal, TreeNode


class NotInLogError(LookupError):
    """The log has no such entry, or not as many."""


def prove_inclusion(seq: int, *, size: int) -> list[bytes]:
    """Return the audit path of an entry in the log of `size` entries, in two queries. Raises NotInLogError."""
    if not 0 <= seq < size or size > _log_size():
        raise NotInLogError(f"entry {seq} is not in a log of {size} entries")
    return _roots(inclusion_ranges(seq, size))


def prove_consistency(old: int, new: int) -> list[bytes]:
    """Return the proof that the log of `new` entries begins with the log of `old`. Raises NotInLogError."""
    if not 0 < old <= new or new > _log_size():
        raise NotInLogError(f"no log of {old} and of {new} entries")
    return _roots(consistency_ranges(old, new))


def _log_size() -> int:
    head = LogHead.objects.filter(pk=1).only("size").first()
    return head.size if head else 0


def _roots(ranges: list[tuple[int, int]]) -> list[bytes]:
    fetch = _fetcher({node for start, end in ranges for node in range_nodes(start, end)})
    return [root_of_frontier([fetch(node) for node in range_nodes(start, end)]) for start, end in ranges]


def _fetcher(nodes: set[Node]) -> Callable[[Node], bytes]:
    leaves = [index for level, index in nodes if level == 0]
    positions = [(index << 6) | level for level, index in nodes if level]
    found: dict[Node, bytes] = {
        (0, seq): bytes(value) for seq, value in Seal.objects.filter(seq__in=leaves).values_list("seq", "leaf_hash")
    }
    for position, value in TreeNode.objects.filter(position__in=positions).values_list("position", "hash"):
        found[position & 63, position >> 6] = bytes(value)
    return found.__getitem__
