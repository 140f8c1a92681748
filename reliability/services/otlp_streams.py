"""What was counted of OTLP streams: those of one metric of one resource in one row, kept in memory between requests.

Most streams are counters with one life: of these the start, the last time and the last bucket counts are kept as plain
numbers. A stream that restarts, is late or is of another kind is kept as `domain.streams` keeps it. A row carries a
random revision; a process whose memory has another one reads the row again.
"""

import secrets
import struct
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime

import orjson
from django.db import connection

from reliability.domain.readings import HistogramReading
from reliability.domain.streams import CumulativeStream, DeltaStream, Generation, Stream, stream_from_json
from reliability.models import StreamBlock
from reliability.services.otlp_points import REMEMBERED

BLOCKS_IN_MEMORY = 2000


class Entry:
    """One stream: plain numbers, or `stream` where they do not suffice."""

    __slots__ = ("bounds", "counts", "key", "roles", "roles_for", "start", "stream", "time")

    def __init__(self, key: str) -> None:
        self.key = key
        self.start = self.time = 0
        self.counts: Sequence[int] = ()
        self.bounds = b""
        self.stream: Stream | None = None
        self.roles: object = None
        self.roles_for: object = None

    def as_stream(self, *, cumulative: bool) -> Stream:
        """Return the stream with all its rules."""
        if self.stream is not None:
            return self.stream
        if not cumulative:
            return DeltaStream()
        if not self.counts:
            return CumulativeStream()
        bounds = struct.unpack(f"<{len(self.bounds) // 8}d", self.bounds)
        return CumulativeStream((Generation(self.start, self.time, HistogramReading(bounds, tuple(self.counts))),))

    def take(self, stream: Stream) -> None:
        """Keep a stream, as plain numbers if it has but one life whose start is known."""
        self.stream = stream
        if isinstance(stream, CumulativeStream) and len(stream.generations) == 1 and not stream.floor:
            life = stream.generations[0]
            if life.start and isinstance(life.reading, HistogramReading):
                self.start, self.time, self.counts = life.start, life.time, life.reading.counts
                self.bounds = struct.pack(f"<{len(life.reading.bounds)}d", *life.reading.bounds)
                self.stream = None


class Block:
    """The streams of one metric of one resource."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.revision = 0
        self.stored = False
        self.entries: dict[str, Entry] = {}
        self.aliases: dict[bytes, Entry] = {}
        self.shape_changed = True

    def entry(self, key: str) -> Entry:
        """Return a stream, made when it is new."""
        found = self.entries.get(key)
        if found is None:
            found = self.entries[key] = Entry(key)
            self.shape_changed = True
        return found

    def read(self, row: StreamBlock) -> None:
        """Take what is stored."""
        self.entries.clear()
        self.aliases.clear()
        numbers = array("Q", bytes(row.numbers))
        position = 0
        for key, start, bounds, length in orjson.loads(zlib.decompress(row.shape)) if row.shape else ():
            entry = self.entries[key] = Entry(key)
            entry.start, entry.bounds = start, bytes.fromhex(bounds)
            entry.time, entry.counts = numbers[position], numbers[position + 1 : position + 1 + length].tolist()
            position += 1 + length
        for key, state in orjson.loads(zlib.decompress(row.others)).items() if row.others else ():
            entry = self.entries[key] = Entry(key)
            entry.stream = stream_from_json(state)
        self.revision, self.stored, self.shape_changed = row.revision, True, False

    def row(self, now: datetime) -> tuple[StreamBlock, bool]:
        """Return what is to be stored, and whether more than numbers has changed."""
        if self.shape_changed:
            self._forget((now - 2 * REMEMBERED).timestamp() * 1e9)
        plain = [entry for entry in self.entries.values() if entry.stream is None and entry.counts]
        others = {entry.key: entry.stream.as_json() for entry in self.entries.values() if entry.stream is not None}
        numbers = array("Q")
        for entry in plain:
            numbers.append(entry.time)
            numbers.extend(entry.counts)
        row = StreamBlock(digest=self.digest, numbers=numbers.tobytes(), revision=secrets.randbits(62), seen_at=now)
        whole = self.shape_changed or not self.stored or bool(others)
        if whole:
            shape = [[entry.key, entry.start, entry.bounds.hex(), len(entry.counts)] for entry in plain]
            row.shape = zlib.compress(orjson.dumps(shape), 1)
            row.others = zlib.compress(orjson.dumps(others), 1) if others else b""
        self.revision, self.stored, self.shape_changed = row.revision, True, False
        return row, whole

    def _forget(self, horizon: float) -> None:
        """Drop streams that have not been heard of for longer than a late point is taken."""
        gone = [key for key, entry in self.entries.items() if entry.stream is None and entry.time < horizon]
        for key in gone:
            del self.entries[key]
        if gone:
            self.aliases.clear()


_blocks: OrderedDict[str, Block] = OrderedDict()


def load_blocks(digests: Iterable[str]) -> dict[str, Block]:
    """Return blocks as stored; the caller holds the lock of the tallies that they count for.

    Until a block is written it has no valid revision: whatever fails in between, the next request reads it again.
    """
    wanted = set(digests)
    revisions = _revisions_of(sorted(wanted))
    found: dict[str, Block] = {}
    stale: list[str] = []
    for digest in wanted:
        block = _blocks.pop(digest, None)
        if block is None or block.revision != revisions.get(digest, 0) or not block.revision:
            block = Block(digest)
            if digest in revisions:
                stale.append(digest)
        found[digest] = block
    for row in StreamBlock.objects.filter(digest__in=stale) if stale else ():
        found[row.digest].read(row)
    return found


def _revisions_of(digests: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    with connection.cursor() as cursor:
        for begin in range(0, len(digests), 500):
            some = digests[begin : begin + 500]
            marks = ",".join(["%s"] * len(some))
            query = f"SELECT digest, revision FROM reliability_streamblock WHERE digest IN ({marks})"  # noqa: S608 marks  # nosec B608
            cursor.execute(query, some)
            found.update(cursor.fetchall())
    return found


def store_blocks(blocks: Iterable[Block], *, now: datetime) -> None:
    """Store what has changed, in the caller's transaction: two statements, however many blocks there are."""
    rows = [block.row(now) for block in blocks]
    seen_at = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO reliability_streamblock (digest, revision, seen_at, numbers, shape, others) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (digest) DO UPDATE SET revision = excluded.revision, "
            "seen_at = excluded.seen_at, numbers = excluded.numbers, shape = excluded.shape, others = excluded.others",
            [
                (row.digest, row.revision, seen_at, bytes(row.numbers), bytes(row.shape), bytes(row.others))
                for row, whole in rows
                if whole
            ],
        )
        cursor.executemany(
            "UPDATE reliability_streamblock SET revision = %s, seen_at = %s, numbers = %s WHERE digest = %s",
            [(row.revision, seen_at, bytes(row.numbers), row.digest) for row, whole in rows if not whole],
        )


def keep_blocks(blocks: Iterable[Block]) -> None:
    """Keep blocks in memory, once they are committed."""
    for block in blocks:
        _blocks[block.digest] = block
    while len(_blocks) > BLOCKS_IN_MEMORY:
        _blocks.popitem(last=False)


def forget_blocks() -> None:
    """Empty the memory, as a process that has just begun."""
    _blocks.clear()
