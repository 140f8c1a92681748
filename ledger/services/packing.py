"""Evidence packs: entries with everything that somebody needs to verify them without this site."""

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import orjson
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.text import slugify

from core.replicas import PRIMARY, ReadFrom, read_as_report, reading_from_primary, report_source
from ledger.data.access import AuditedAction
from ledger.data.base import EVIDENCE_NAMES
from ledger.data.packs import Document, EvidencePack, Omission, Reader, Selection
from ledger.domain.entries import entry_bytes, instant_text
from ledger.domain.notes import sign_note
from ledger.models import Artifact, Checkpoint, KeyRotation, LedgerEntry, Seal
from ledger.selectors import entries as entries_by
from ledger.services.artifacts import artifact_path
from ledger.services.checkpoints import make_checkpoint, public_verifier_key, signing_key
from ledger.services.proving import prove_consistency, prove_many
from ledger.services.recording import record
from ledger.services.residency import ensure_may_leave
from ledger.services.sealing import facts_of, log_origin

FORMAT = "assay-evidence-pack"
FORMAT_VERSION = 1
MAX_ENTRIES = 100_000
MAX_HEADERS = 100_000
MAX_ARTIFACT_BYTES = 8 * 1024 * 1024 * 1024
MAX_EARLIER_CHECKPOINTS = 2_000
CHUNK = 500
PIECE = 1024 * 1024
PROVED_TOGETHER = 4_000
# Entries that index.html shows; all are in entries.jsonl.
SHOWN = 2_000
VERIFIER = Path(__file__).resolve().parent.parent / "pack" / "verify.py"


class PackTooLargeError(ValueError):
    """The selection covers more than one pack may hold."""


class _Draft:
    """A pack while it is written: each file goes straight into the ZIP file, and its digest into the manifest."""

    def __init__(
        self, archive: zipfile.ZipFile, stamp: tuple[int, int, int, int, int, int], omissions: Sequence[Omission]
    ) -> None:
        self._archive = archive
        self._stamp = stamp
        self.omissions = list(omissions)
        self.listed: dict[str, dict[str, Any]] = {}

    def add(self, name: str, content: bytes, *, listed: bool = True) -> None:
        """Write a file from memory."""
        self.add_chunks(name, (content,), listed=listed)

    def add_chunks(self, name: str, chunks: Iterable[bytes], *, listed: bool = True, packed: bool = True) -> None:
        """Write a file piece by piece."""
        info = zipfile.ZipInfo(name, self._stamp)
        info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        digest, size = hashlib.sha256(), 0
        with self._archive.open(info, "w", force_zip64=True) as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        if listed:
            self.listed[name] = {"sha256": digest.hexdigest(), "bytes": size}


def export_pack(
    *,
    principal: Reader,
    title: str,
    selection: Selection | None = None,
    omissions: Sequence[Omission] = (),
    documents: Mapping[str, Document] | None = None,
    headers: bool = True,
) -> EvidencePack:
    """Make a pack in memory; see `write_pack`."""
    with tempfile.TemporaryDirectory(prefix="assay-pack-") as folder:
        target = Path(folder) / "pack.zip"
        pack = write_pack(
            target,
            principal=principal,
            title=title,
            selection=selection,
            omissions=omissions,
            documents=documents,
            headers=headers,
        )
        return replace(pack, content=target.read_bytes())


def write_pack(
    target: Path,
    *,
    principal: Reader,
    title: str,
    selection: Selection | None = None,
    omissions: Sequence[Omission] = (),
    documents: Mapping[str, Document] | None = None,
    headers: bool = True,
    progress: Callable[[str], None] = lambda _step: None,
    region: str = "",
    region_reason: str = "",
    checkpoint: Checkpoint | None = None,
) -> EvidencePack:
    """Write a pack of the entries that a selection covers to a file, piece by piece, and record that it was made.

    The caller has checked that the principal may. `documents` are further files by relative path; they come to lie
    under `documents/` and are covered by the signed manifest. With `headers`, the pack carries the headers (type,
    subject, actor, times; no payload) of every entry of the log, which lets a reader verify that nothing the selection
    covers was left out. `region` is where the pack goes (empty: it stays). It is read as a report: from one snapshot of
    the read replica, if that has everything up to the checkpoint; a caller that reads as a report already has made the
    `checkpoint` before. Raises NothingSealedError on an empty log,
    PackTooLargeError, ExportRefusedError for a region outside of this one's residency without a reason, and ValueError
    for a document's path that leads elsewhere.
    """
    leaving = ensure_may_leave(region=region, reason=region_reason)
    if checkpoint is None and report_source() is not None:
        raise ValueError("what is read within another report names the checkpoint that this report has")
    order = _Order(
        target=target,
        principal=principal,
        title=title,
        selection=selection or Selection(),
        omissions=omissions,
        documents={_document_path(path): content for path, content in (documents or {}).items()},
        headers=headers,
        progress=progress,
        checkpoint=checkpoint or make_checkpoint(),
    )
    # A document that is written while it is read cannot be begun anew on the primary.
    once = report_source() is None and not all(isinstance(one, bytes) for one in order.documents.values())
    pack = _written(order, PRIMARY) if once else read_as_report(lambda source: _written(order, source))
    with reading_from_primary():
        record(
            AuditedAction(
                action="ledger.pack_exported",
                target=title[:200],
                after={"manifest_sha256": pack.manifest_sha256, "entries": str(pack.entries), **leaving},
                reason=region_reason[:500],
            ),
            actor=principal.reference,
            subject=f"pack:{pack.manifest_sha256[:16]}",
        )
    return pack


@dataclass(frozen=True)
class _Order:
    """What a pack is made of."""

    target: Path
    principal: Reader
    title: str
    selection: Selection
    omissions: Sequence[Omission]
    documents: Mapping[str, Document]
    headers: bool
    progress: Callable[[str], None]
    checkpoint: Checkpoint


def _written(order: _Order, source: ReadFrom) -> EvidencePack:
    """Write a pack from one database."""
    checkpoint, created_at = order.checkpoint, timezone.now()
    chosen = _chosen(order.selection, checkpoint.size)
    stamp = (created_at.year, created_at.month, created_at.day, created_at.hour, created_at.minute, created_at.second)
    with zipfile.ZipFile(order.target, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        draft = _Draft(archive, stamp, order.omissions)
        for path, content in order.documents.items():
            draft.add_chunks(path, (content,) if isinstance(content, bytes) else content)
        order.progress("Writing entries")
        listed, used, first = _add_entries(draft, chosen)
        draft.add("checkpoint.note", checkpoint.note.encode())
        if order.headers:
            _add_headers(draft, checkpoint)
        order.progress("Copying artifacts")
        artifacts = _add_artifacts(draft, used)
        order.progress("Writing proofs")
        _add_proofs(draft, chosen, checkpoint)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "title": order.title,
            "log": log_origin(),
            "created_at": instant_text(created_at),
            "created_by": order.principal.reference,
            "read_from": {"database": source.database, "position": source.position},
            "selection": _selection_record(order.selection),
            "checkpoint": {"size": checkpoint.size, "root": bytes(checkpoint.root).hex()},
            "key": public_verifier_key(),
            "entries": listed,
            "artifacts": artifacts,
            "omissions": [asdict(omission) for omission in draft.omissions],
        }
        _add_readables(draft, manifest, first, created_at, source)
        manifest["files"] = dict(sorted(draft.listed.items()))
        digest = _add_manifest(draft, manifest)
    return EvidencePack(
        name=f"{slugify(order.title)[:60] or 'evidence'}-{created_at:%Y-%m-%d-%H%M}.zip",
        content=b"",
        manifest_sha256=digest,
        entries=len(listed),
        artifacts=sum(1 for item in artifacts if item["path"]),
        checkpoint_size=manifest["checkpoint"]["size"],
        key=manifest["key"],
        omissions=tuple(draft.omissions),
    )


def _chosen(selection: Selection, size: int) -> list[int]:
    """Return the numbers of the entries that a selection covers, in order."""
    found = entries_by(
        types=selection.types,
        evidence_types=selection.evidence_types,
        subjects=selection.subjects,
        since=selection.since,
        until=selection.until,
    ).filter(seal__seq__lt=size)
    numbers = found.order_by("seal__seq").values_list("seal__seq", flat=True).iterator(chunk_size=5_000)
    wanted = selection.seqs
    chosen = [int(seq) for seq in numbers if wanted is None or seq in wanted]
    if len(chosen) > MAX_ENTRIES:
        raise PackTooLargeError(f"The selection covers more than {MAX_ENTRIES} entries; narrow it.")
    return chosen


def _by_number(chosen: Sequence[int]) -> Iterator[LedgerEntry]:
    for start in range(0, len(chosen), CHUNK):
        yield from entries_by().filter(seal__seq__in=chosen[start : start + CHUNK]).order_by("seal__seq")


def _place(entry: LedgerEntry) -> int:
    """Return the place of an entry that is known to be sealed."""
    return int(entry.seal.seq)


def _add_entries(
    draft: _Draft, chosen: Sequence[int]
) -> tuple[list[orjson.Fragment], dict[str, list[int]], list[LedgerEntry]]:
    """Write entries and payloads in one pass; return their list, who uses which artifact, and the first entries."""
    listed: list[orjson.Fragment] = []
    used: dict[str, list[int]] = {}
    first: list[LedgerEntry] = []
    origin = log_origin()
    before = dict(_leaves_at([seq - 1 for seq in chosen]))
    with tempfile.TemporaryFile() as entries_file, tempfile.TemporaryFile() as payloads_file:
        for entry in _by_number(chosen):
            seq = _place(entry)
            previous = before.get(seq - 1, b"")
            entries_file.write(entry_bytes(facts_of(entry), origin=origin, seq=seq, previous=previous) + b"\n")
            content = entry.kept_content
            if content is None:
                why = (
                    "its time was over" if entry.content_gone == "erased by retention" else "it was erased from the log"
                )
                draft.omissions.append(Omission(f"the payload of entry {seq}", why))
            else:
                nonce, body = bytes(content.nonce).hex(), bytes(content.body).decode()
                payloads_file.write(orjson.dumps({"seq": seq, "nonce": nonce, "payload": body}) + b"\n")
            for digest in entry.artifacts:
                used.setdefault(digest, []).append(seq)
            leaf = bytes(entry.seal.leaf_hash).hex()
            if len(first) < SHOWN:
                first.append(entry)
            else:
                # Entry and seal hold each other; let go, they are freed at once and not at some later collection.
                entry._state.fields_cache.clear()  # noqa: SLF001 there is no other way to forget a relation
            state = "erased" if content is None else "included"
            one = {"seq": seq, "leaf": leaf, "type": entry.entry_type, "payload": state}
            # Kept as the bytes that the manifest will hold, copied out of the roomy buffer that orjson answers with: a
            # hundred thousand maps, or buffers, would take hundreds of megabytes.
            listed.append(orjson.Fragment(bytes(memoryview(orjson.dumps(one)))))
        draft.add_chunks("entries.jsonl", _chunks_of(entries_file))
        draft.add_chunks("payloads.jsonl", _chunks_of(payloads_file))
    return listed, used, first


def _chunks_of(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(PIECE):
        yield chunk


def _leaves_at(seqs: list[int]) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(seqs), CHUNK):
        wanted = [seq for seq in seqs[start : start + CHUNK] if seq >= 0]
        for seq, leaf in Seal.objects.filter(seq__in=wanted).values_list("seq", "leaf_hash"):
            yield seq, bytes(leaf)


def _add_headers(draft: _Draft, checkpoint: Checkpoint) -> None:
    if checkpoint.size > MAX_HEADERS:
        draft.omissions.append(
            Omission("the headers of the entries outside the selection", f"the log has more than {MAX_HEADERS} entries")
        )
        return

    def lines() -> Iterator[bytes]:
        origin, previous = log_origin(), b""
        seals = Seal.objects.select_related("entry").filter(seq__lt=checkpoint.size).order_by("seq")
        for seal in seals.iterator(chunk_size=2_000):
            yield entry_bytes(facts_of(seal.entry), origin=origin, seq=seal.seq, previous=previous) + b"\n"
            previous = bytes(seal.leaf_hash)

    draft.add_chunks("headers.jsonl", lines())


def _add_artifacts(draft: _Draft, used: Mapping[str, list[int]]) -> list[dict[str, Any]]:
    """Copy the files that entries refer to; one that cannot be added is listed with the reason."""
    known = Artifact.objects.in_bulk(list(used))
    listed, total = [], 0
    for digest, seqs in sorted(used.items()):
        artifact, place = known.get(digest), artifact_path(digest)
        size = place.stat().st_size if place.is_file() else None
        reason = ""
        if size is None:
            reason = "the file is gone from the store"
        elif _digest_of(place) != digest:
            reason = "the file in the store is not the one that was recorded"
        elif total + size > MAX_ARTIFACT_BYTES:
            reason = f"the pack would exceed {MAX_ARTIFACT_BYTES} bytes"
        path = ""
        if reason:
            draft.omissions.append(Omission(f"the artifact {digest}", reason))
        else:
            path = f"artifacts/{digest}"
            with place.open("rb") as file:
                # Most are packed already; packing them again would cost more time than it saves room.
                draft.add_chunks(path, _chunks_of(file), packed=bool(size and size < PIECE))
            total += size or 0
        listed.append(
            {
                "sha256": digest,
                "name": artifact.name if artifact else "",
                "media_type": artifact.media_type if artifact else "",
                "path": path,
                "entries": seqs,
            }
        )
    return listed


def _digest_of(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_proofs(draft: _Draft, chosen: Sequence[int], checkpoint: Checkpoint) -> None:
    def lines() -> Iterator[bytes]:
        for start in range(0, len(chosen), PROVED_TOGETHER):
            paths = prove_many(chosen[start : start + PROVED_TOGETHER], size=checkpoint.size)
            yield _joined(
                [orjson.dumps({"seq": seq, "path": [value.hex() for value in path]}) for seq, path in paths.items()]
            )

    draft.add_chunks("proofs.jsonl", lines())
    sizes = Checkpoint.objects.filter(size__lt=checkpoint.size).order_by("-size").values_list("size", "note")
    earlier = list(sizes[:MAX_EARLIER_CHECKPOINTS])
    consistency = [
        orjson.dumps(
            {"old": old, "note": note, "path": [value.hex() for value in prove_consistency(old, checkpoint.size)]}
        )
        for old, note in dict(earlier).items()
    ]
    draft.add("consistency.jsonl", _joined(consistency))


def _add_readables(
    draft: _Draft, manifest: dict[str, Any], first: Sequence[LedgerEntry], created_at: datetime, source: ReadFrom
) -> None:
    rows = [
        {
            "entry": entry,
            "evidence": EVIDENCE_NAMES.get(entry.evidence_type, ""),  # type: ignore[call-overload]
            "payload": ""
            if entry.payload is None
            else orjson.dumps(entry.payload, option=orjson.OPT_INDENT_2).decode(),
        }
        for entry in first
    ]
    context = {
        "manifest": manifest,
        "rows": rows,
        "more": len(manifest["entries"]) - len(rows),
        "documents": sorted(name for name in draft.listed if name.startswith("documents/")),
        "created_at": created_at,
        "read_from": source.says,
    }
    draft.add("index.html", render_to_string("ledger/pack_index.html", context).encode())
    draft.add("index.css", (VERIFIER.parent / "index.css").read_bytes())
    draft.add("verify.py", VERIFIER.read_bytes())
    rotations = KeyRotation.objects.values_list("note", flat=True)
    draft.add("keys.jsonl", _joined([orjson.dumps({"rotation": note}) for note in rotations]))
    draft.add("key.txt", f"{manifest['key']}\n".encode())


def _add_manifest(draft: _Draft, manifest: dict[str, Any]) -> str:
    raw = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    digest = hashlib.sha256(raw).hexdigest()
    origin = manifest["log"]
    note = sign_note(f"{origin}\nevidence pack manifest\nsha256:{digest}\n", name=origin, key=signing_key())
    draft.add("manifest.json", raw, listed=False)
    draft.add("manifest.note", note.encode(), listed=False)
    return digest


def _selection_record(selection: Selection) -> dict[str, Any]:
    return {
        "types": sorted(selection.types),
        "evidence_types": sorted(str(kind) for kind in selection.evidence_types),
        "subjects": sorted(selection.subjects),
        "since": instant_text(selection.since),
        "until": instant_text(selection.until),
        "seqs": None if selection.seqs is None else sorted(selection.seqs),
    }


def _document_path(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or any(part in {"..", "."} for part in parts):
        raise ValueError(f"{path!r} is not a relative path below the pack")
    return "/".join(("documents", *parts))


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
