"""The Merkle tree of RFC 6962, section 2.1, over stored hashes of perfect subtrees.

A perfect subtree is named by `(level, index)`: it covers the leaves `index * 2**level` to `(index + 1) * 2**level - 1`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator

Node = tuple[int, int]
Fetch = Callable[[Node], bytes]

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append_leaves(
    frontier: list[bytes], size: int, leaves: Iterable[bytes]
) -> tuple[list[bytes], list[tuple[Node, bytes]]]:
    """Append leaf hashes to a tree of `size` leaves whose perfect subtrees, left to right, hash to `frontier`.

    Returns the new frontier and every perfect subtree of level 1 and up that was completed.
    """
    stack = list(frontier)
    completed: list[tuple[Node, bytes]] = []
    for leaf in leaves:
        current, level, index = leaf, 0, size
        while index & 1:
            current = node_hash(stack.pop(), current)
            level, index = level + 1, index >> 1
            completed.append(((level, index), current))
        stack.append(current)
        size += 1
    return stack, completed


def root_of_frontier(frontier: list[bytes]) -> bytes:
    """Return the tree's root from its perfect subtrees, left to right."""
    if not frontier:
        return EMPTY_ROOT
    root = frontier[-1]
    for left in reversed(frontier[:-1]):
        root = node_hash(left, root)
    return root


def range_nodes(start: int, end: int) -> list[Node]:
    """Return the perfect subtrees that cover the leaves `start` to `end - 1`, left to right (`start` aligned)."""
    nodes: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose roots prove that leaf `index` is in a tree of `size` leaves, from the leaf up."""
    return list(_inclusion(index, 0, size))[::-1]


def inclusion_proof(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Return the audit path (RFC 6962, 2.1.1). Raises ValueError when the leaf is not in the tree."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    return [range_root(start, end, fetch) for start, end in inclusion_ranges(index, size)]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Return the leaf ranges of the consistency proof between two sizes (RFC 6962, 2.1.2)."""
    return list(_consistency(old, 0, new, whole=True))


def consistency_proof(old: int, new: int, fetch: Fetch) -> list[bytes]:
    """Return the consistency proof between a tree of `old` leaves and one of `new`."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from {old} to {new} leaves")
    return [range_root(start, end, fetch) for start, end in consistency_ranges(old, new)]


def range_root(start: int, end: int, fetch: Fetch) -> bytes:
    """Return the root of the leaves `start` to `end - 1`."""
    return root_of_frontier([fetch(node) for node in range_nodes(start, end)])


def root_from_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Return the root that an audit path leads to, or None when its length is wrong (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    position, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    return current if last == 0 else None


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _inclusion(index: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            yield middle, end
            end = middle
        else:
            yield start, middle
            start = middle


def _consistency(old: int, start: int, end: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    if old == end:
        if not whole:
            yield start, end
        return
    middle = start + _split(end - start)
    if old <= middle:
        yield from _consistency(old, start, middle, whole=whole)
        yield middle, end
    else:
        yield from _consistency(old, middle, end, whole=False)
        yield start, middle
