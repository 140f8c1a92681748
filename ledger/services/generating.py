"""Bring many made-up entries into the log at once, chained as the sealer does: for sites made to be measured.

PostgreSQL only. The log's head is locked until the caller's transaction ends; what waits is sealed first.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from ledger.domain.entries import EntryFacts, entry_leaf
from ledger.domain.tree import append_leaves
from ledger.models import LogHead
from ledger.services.sealing import seal_pending

BATCH = 20_000

# Kind, evidence, actor, subject, when, nonce, and the body as canonical JSON.
GeneratedEntry = tuple[str, str, str, str, datetime, bytes, bytes]


@transaction.atomic
def append_generated(entries: Iterable[GeneratedEntry]) -> int:
    """Append entries to the log; returns how many."""
    seal_pending()
    LogHead.objects.get_or_create(pk=1, defaults={"origin": str(settings.LEDGER_ORIGIN)})
    head = LogHead.objects.select_for_update().get(pk=1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM ledger_ledgerentry")
        first = int(cursor.fetchone()[0]) + 1
    done = 0
    for batch in _batches(entries):
        _append(head, first + done, batch)
        done += len(batch)
    head.save(update_fields=("size", "last_leaf_hash", "frontier"))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('ledger_ledgerentry', 'id'), %s)", [max(first + done - 1, 1)]
        )
    return done


def _append(head: LogHead, first: int, batch: list[GeneratedEntry]) -> None:
    rows, contents, seals, leaves = [], [], [], []
    previous = bytes(head.last_leaf_hash)
    for offset, (kind, evidence, actor, subject, at, nonce, body) in enumerate(batch):
        key, seq = first + offset, head.size + offset
        when = at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
        digest = hashlib.sha256(nonce + body).hexdigest()
        facts = EntryFacts(kind, 1, evidence, actor, subject, when, when, None, None, digest, [])
        previous = entry_leaf(facts, origin=head.origin, seq=seq, previous=previous)
        leaves.append(previous)
        rows.append(f"{key}\t{kind}\t1\t{evidence}\t{actor}\t{subject}\t{when}\t{when}\t{digest}\t[]\n")
        contents.append(f"{key}\t\\\\x{nonce.hex()}\t\\\\x{body.hex()}\n")
        seals.append(f"{key}\t{seq}\t\\\\x{previous.hex()}\t{when}\n")
    frontier, completed = append_leaves([bytes.fromhex(text) for text in head.frontier], head.size, leaves)
    nodes = [f"{(index << 6) | level}\t\\\\x{value.hex()}\n" for (level, index), value in completed]
    _copy(
        "ledger_ledgerentry (id, entry_type, version, evidence_type, actor, subject, recorded_at, occurred_at, "
        "payload_sha256, artifacts)",
        rows,
    )
    _copy("ledger_entrycontent (entry_id, nonce, body)", contents)
    _copy("ledger_seal (entry_id, seq, leaf_hash, sealed_at)", seals)
    _copy("ledger_treenode (position, hash)", nodes)
    head.size += len(batch)
    head.last_leaf_hash = previous
    head.frontier = [value.hex() for value in frontier]


def _copy(target: str, lines: list[str]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        copy.write("".join(lines))


def _batches(entries: Iterable[GeneratedEntry]) -> Iterable[list[GeneratedEntry]]:
    batch: list[Any] = []
    for one in entries:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
