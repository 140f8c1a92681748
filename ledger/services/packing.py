"""Evidence packs: entries with everything that somebody needs to verify them without this site."""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.text import slugify

from ledger.data.access import AuditedAction
from ledger.data.base import EVIDENCE_NAMES
from ledger.data.packs import EvidencePack, Omission, Reader, Selection
from ledger.domain.entries import entry_bytes, instant_text
from ledger.domain.notes import sign_note
from ledger.models import Artifact, Checkpoint, KeyRotation, LedgerEntry, Seal
from ledger.selectors import entries as entries_by
from ledger.services.artifacts import read_artifact
from ledger.services.checkpoints import make_checkpoint, public_verifier_key, signing_key
from ledger.services.proving import prove_consistency, prove_many
from ledger.services.recording import record
from ledger.services.sealing import facts_of, log_origin

FORMAT = "assay-evidence-pack"
FORMAT_VERSION = 1
MAX_ENTRIES = 100_000
MAX_HEADERS = 100_000
MAX_ARTIFACT_BYTES = 400 * 1024 * 1024
MAX_EARLIER_CHECKPOINTS = 2_000
CHUNK = 500
VERIFIER = Path(__file__).resolve().parent.parent / "pack" / "verify.py"


class PackTooLargeError(ValueError):
    """The selection covers more than one pack may hold."""


@dataclass
class _Draft:
    """A pack while it is made."""

    files: dict[str, bytes] = field(default_factory=dict)
    omissions: list[Omission] = field(default_factory=list)


def export_pack(
    *,
    principal: Reader,
    title: str,
    selection: Selection | None = None,
    omissions: Sequence[Omission] = (),
    documents: Mapping[str, bytes] | None = None,
    headers: bool = True,
) -> EvidencePack:
    """Make a pack of the entries that a selection covers, and record that it was made.

    The caller has checked that the principal may. `documents` are further files by relative path; they come to lie
    under `documents/` and are covered by the signed manifest. With `headers`, the pack carries the headers (type,
    subject, actor, times; no payload) of every entry of the log, which lets a reader verify that nothing the selection
    covers was left out. Raises NothingSealedError on an empty log, PackTooLargeError, and ValueError for a document's
    path that leads elsewhere.
    """
    selection = selection or Selection()
    checkpoint = make_checkpoint()
    chosen = _chosen(selection, checkpoint.size)
    draft = _Draft(omissions=list(omissions))
    for path, content in (documents or {}).items():
        draft.files[_document_path(path)] = content
    _add_entries(draft, chosen, checkpoint)
    if headers:
        _add_headers(draft, checkpoint)
    artifacts = _add_artifacts(draft, chosen)
    _add_proofs(draft, chosen, checkpoint)
    created_at = timezone.now()
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "title": title,
        "log": log_origin(),
        "created_at": instant_text(created_at),
        "created_by": principal.reference,
        "selection": _selection_record(selection),
        "checkpoint": {"size": checkpoint.size, "root": bytes(checkpoint.root).hex()},
        "key": public_verifier_key(),
        "entries": [_listed(entry) for entry in chosen],
        "artifacts": artifacts,
        "omissions": [asdict(omission) for omission in draft.omissions],
    }
    _add_readables(draft, manifest, chosen, created_at)
    return _finished(draft, manifest, principal=principal, title=title, created_at=created_at)


def _chosen(selection: Selection, size: int) -> list[LedgerEntry]:
    found = entries_by(
        types=selection.types,
        evidence_types=selection.evidence_types,
        subjects=selection.subjects,
        since=selection.since,
        until=selection.until,
    ).filter(seal__seq__lt=size)
    if selection.seqs is not None:
        found = found.filter(seal__seq__in=sorted(selection.seqs))
    chosen = list(found.order_by("seal__seq")[: MAX_ENTRIES + 1])
    if len(chosen) > MAX_ENTRIES:
        raise PackTooLargeError(f"The selection covers more than {MAX_ENTRIES} entries; narrow it.")
    return chosen


def _place(entry: LedgerEntry) -> int:
    """Return the place of an entry that is known to be sealed."""
    return int(entry.seal.seq)


def _listed(entry: LedgerEntry) -> dict[str, Any]:
    erased = entry.content.erased_at is not None
    return {
        "seq": _place(entry),
        "leaf": bytes(entry.seal.leaf_hash).hex(),
        "type": entry.entry_type,
        "payload": "erased" if erased else "included",
    }


def _add_entries(draft: _Draft, chosen: list[LedgerEntry], checkpoint: Checkpoint) -> None:
    before = [_place(entry) - 1 for entry in chosen]
    previous = dict(_leaves_at(before))
    origin = log_origin()
    lines, payloads = [], []
    for entry in chosen:
        seq = _place(entry)
        lines.append(entry_bytes(facts_of(entry), origin=origin, seq=seq, previous=previous.get(seq - 1, b"")))
        if entry.content.erased_at is None:
            payload = {
                "seq": seq,
                "nonce": bytes(entry.content.nonce).hex(),
                "payload": bytes(entry.content.body).decode(),
            }
            payloads.append(orjson.dumps(payload))
        else:
            draft.omissions.append(Omission(f"the payload of entry {seq}", "it was erased from the log"))
    draft.files["entries.jsonl"] = _joined(lines)
    draft.files["payloads.jsonl"] = _joined(payloads)
    draft.files["checkpoint.note"] = checkpoint.note.encode()


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
    origin, previous, lines = log_origin(), b"", []
    seals = Seal.objects.select_related("entry").filter(seq__lt=checkpoint.size).order_by("seq")
    for seal in seals.iterator(chunk_size=2_000):
        lines.append(entry_bytes(facts_of(seal.entry), origin=origin, seq=seal.seq, previous=previous))
        previous = bytes(seal.leaf_hash)
    draft.files["headers.jsonl"] = _joined(lines)


def _add_artifacts(draft: _Draft, chosen: list[LedgerEntry]) -> list[dict[str, Any]]:
    """Add the files that entries refer to; one that cannot be added is listed with the reason."""
    used: dict[str, list[int]] = {}
    for entry in chosen:
        for digest in entry.artifacts:
            used.setdefault(digest, []).append(_place(entry))
    known = Artifact.objects.in_bulk(list(used))
    listed, total = [], 0
    for digest, seqs in sorted(used.items()):
        artifact = known.get(digest)
        content = read_artifact(digest)
        reason = ""
        if content is None:
            reason = "the file is gone from the store"
        elif hashlib.sha256(content).hexdigest() != digest:
            reason = "the file in the store is not the one that was recorded"
        elif total + len(content) > MAX_ARTIFACT_BYTES:
            reason = f"the pack would exceed {MAX_ARTIFACT_BYTES} bytes"
        path = ""
        if reason or content is None:
            draft.omissions.append(Omission(f"the artifact {digest}", reason))
        else:
            path = f"artifacts/{digest}"
            draft.files[path] = content
            total += len(content)
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


def _add_proofs(draft: _Draft, chosen: list[LedgerEntry], checkpoint: Checkpoint) -> None:
    paths = prove_many([_place(entry) for entry in chosen], size=checkpoint.size)
    draft.files["proofs.jsonl"] = _joined(
        [orjson.dumps({"seq": seq, "path": [value.hex() for value in path]}) for seq, path in paths.items()]
    )
    sizes = Checkpoint.objects.filter(size__lt=checkpoint.size).order_by("-size").values_list("size", "note")
    earlier = list(sizes[:MAX_EARLIER_CHECKPOINTS])
    draft.files["consistency.jsonl"] = _joined(
        [
            orjson.dumps(
                {"old": old, "note": note, "path": [value.hex() for value in prove_consistency(old, checkpoint.size)]}
            )
            for old, note in dict(earlier).items()
        ]
    )


def _add_readables(draft: _Draft, manifest: dict[str, Any], chosen: list[LedgerEntry], created_at: datetime) -> None:
    rows = [
        {
            "entry": entry,
            "evidence": EVIDENCE_NAMES.get(entry.evidence_type, ""),  # type: ignore[call-overload]
            "payload": ""
            if entry.payload is None
            else orjson.dumps(entry.payload, option=orjson.OPT_INDENT_2).decode(),
        }
        for entry in chosen
    ]
    context = {
        "manifest": manifest,
        "rows": rows,
        "documents": sorted(name for name in draft.files if name.startswith("documents/")),
        "created_at": created_at,
    }
    draft.files["index.html"] = render_to_string("ledger/pack_index.html", context).encode()
    draft.files["index.css"] = (VERIFIER.parent / "index.css").read_bytes()
    draft.files["verify.py"] = VERIFIER.read_bytes()
    rotations = KeyRotation.objects.values_list("note", flat=True)
    draft.files["keys.jsonl"] = _joined([orjson.dumps({"rotation": note}) for note in rotations])
    draft.files["key.txt"] = f"{manifest['key']}\n".encode()


def _finished(
    draft: _Draft, manifest: dict[str, Any], *, principal: Reader, title: str, created_at: datetime
) -> EvidencePack:
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(draft.files.items())
    }
    raw = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    digest = hashlib.sha256(raw).hexdigest()
    origin = manifest["log"]
    note = sign_note(f"{origin}\nevidence pack manifest\nsha256:{digest}\n", name=origin, key=signing_key())
    buffer = io.BytesIO()
    stamp = created_at.timetuple()[:6]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"manifest.json": raw, "manifest.note": note.encode(), **draft.files}.items():
            archive.writestr(zipfile.ZipInfo(name, stamp), content, zipfile.ZIP_DEFLATED)
    record(
        AuditedAction(
            action="ledger.pack_exported",
            target=title[:200],
            after={"manifest_sha256": digest, "entries": str(len(manifest["entries"]))},
        ),
        actor=principal.reference,
        subject=f"pack:{digest[:16]}",
    )
    return EvidencePack(
        name=f"{slugify(title)[:60] or 'evidence'}-{created_at:%Y-%m-%d-%H%M}.zip",
        content=buffer.getvalue(),
        manifest_sha256=digest,
        entries=len(manifest["entries"]),
        artifacts=sum(1 for item in manifest["artifacts"] if item["path"]),
        checkpoint_size=manifest["checkpoint"]["size"],
        key=manifest["key"],
        omissions=tuple(draft.omissions),
    )


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
