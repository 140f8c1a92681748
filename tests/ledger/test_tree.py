"""The tree against a direct transcription of the definitions in RFC 6962, section 2.1."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.tree import (
    Fetch,
    append_leaves,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_inclusion,
    root_of_frontier,
)
from ledger.pack import verify as offline


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


def make(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def fetcher(leaves: list[bytes]) -> Fetch:
    _, completed = append_leaves([], 0, leaves)
    nodes = dict(completed)
    return lambda node: leaves[node[1]] if node[0] == 0 else nodes[node]


@given(st.integers(0, 70), st.integers(0, 70))
def test_the_root_is_the_same_however_the_leaves_were_appended(first: int, second: int) -> None:
    leaves = make(first + second)
    frontier, _ = append_leaves([], 0, leaves[:first])
    frontier, _ = append_leaves(frontier, first, leaves[first:])
    assert root_of_frontier(frontier) == mth(leaves)


@given(st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_lead_to_the_root(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 130))
    index = data.draw(st.integers(0, size - 1))
    leaves = make(size)
    proof = inclusion_proof(index, size, fetcher(leaves))
    assert proof == path(index, leaves)
    assert root_from_inclusion(leaves[index], index, size, proof) == mth(leaves)
    assert root_from_inclusion(leaf_hash(b"other"), index, size, proof) != mth(leaves)


@given(st.data())
def test_consistency_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 130))
    old = data.draw(st.integers(1, new))
    leaves = make(new)
    assert consistency_proof(old, new, fetcher(leaves)) == subproof(old, leaves, whole=True)


@given(st.data())
def test_the_offline_script_accepts_right_proofs_and_no_others(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 130))
    old = data.draw(st.integers(1, new))
    leaves = make(new)
    root, before = mth(leaves), mth(leaves[:old])
    proof = consistency_proof(old, new, fetcher(leaves))
    assert offline.root_of(leaves) == root
    assert offline.is_consistent(old, new, before, root, proof)
    assert not offline.is_consistent(old, new, hashlib.sha256(b"?").digest(), root, proof)
    assert not offline.is_consistent(old, new, before, root, [*proof, root])
    if proof:
        spoilt = data.draw(st.integers(0, len(proof) - 1))
        wrong = [hashlib.sha256(value).digest() if at == spoilt else value for at, value in enumerate(proof)]
        assert not offline.is_consistent(old, new, before, root, wrong)
    index = data.draw(st.integers(0, new - 1))
    path_up = inclusion_proof(index, new, fetcher(leaves))
    assert offline.root_by_path(leaves[index], index, new, path_up) == root
    assert offline.root_by_path(leaf_hash(b"other"), index, new, path_up) != root
    assert offline.root_by_path(leaves[index], index, new, [*path_up, root]) is None


def test_a_leaf_outside_the_tree_has_no_proof() -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(3, 3, fetcher(make(3)))
