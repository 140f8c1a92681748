"""The audit log in words: ledger entries with the names of who acted."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from accounts.selectors import names_of_references, references_of
from ledger.selectors import LedgerEntry, TrailQuestion
from portal.data import AuditFilters, AuditLine

CHUNK = 500
NOBODY = "nobody:-"
SHOWN_APART = {"action", "address", "outcome"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def question_of(asked: AuditFilters) -> TrailQuestion:
    """Return what to ask the ledger; a name that nobody has finds nothing."""
    return TrailQuestion(
        actors=(references_of(asked.who) or (NOBODY,)) if asked.who else (),
        types=(asked.kind,) if asked.kind else (),
        subject=asked.about,
        since=asked.since,
        until=asked.until,
        words=tuple(asked.words.split())[:8],
    )


def audit_lines(entries: Iterable[LedgerEntry]) -> list[AuditLine]:
    """Return entries in words; names are looked up together."""
    found = list(entries)
    names = names_of_references({entry.actor for entry in found} | {_subject_reference(entry) for entry in found})
    return [_line(entry, names) for entry in found]


def streamed_lines(entries: Iterator[LedgerEntry]) -> Iterator[AuditLine]:
    """Yield entries in words, for any number of them."""
    while chunk := list(islice(entries, CHUNK)):
        yield from audit_lines(chunk)


def _subject_reference(entry: LedgerEntry) -> str:
    kind, _, key = entry.subject.partition(":")
    return entry.subject if kind in {"user", "token"} and key.isdecimal() else ""


def _line(entry: LedgerEntry, names: dict[str, str]) -> AuditLine:
    payload: dict[str, Any] = entry.payload or {}
    action = str(payload.get("action") or entry.entry_type)
    return AuditLine(
        entry=entry,
        who=names[entry.actor],
        did=action.replace(".", " ").replace("_", " ").replace("-", " "),
        whom=names.get(_subject_reference(entry)) or entry.subject,
        details=_details(payload),
        outcome=str(payload.get("outcome", "")) if payload.get("outcome") != "done" else "",
        origin=str(payload.get("address", "")),
        erased=entry.payload is None,
    )


def _details(payload: dict[str, Any]) -> str:
    """Return what changed and why, as `role: admin; scope: site`."""
    parts = []
    before, after = payload.get("before") or {}, payload.get("after") or {}
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            old, new = before.get(name), after.get(name)
            label = name.replace("_", " ")
            parts.append(f"{label}: {new if old is None else f'no longer {old}' if new is None else f'{old} → {new}'}")
    if reason := payload.get("reason"):
        parts.append(f"because: {reason}")
    if not parts:
        parts = [
            f"{name.replace('_', ' ')}: {_plain(value)}"
            for name, value in payload.items()
            if isinstance(value, str | int)
            and not isinstance(value, bool)
            and value != ""
            and name not in SHOWN_APART
            and not name.endswith("sha256")
        ][:4]
    return "; ".join(part if len(part) <= 160 else f"{part[:159]}…" for part in parts)


def _plain(value: str | int) -> str:
    """Return a value as people write it: an instant to the second, in UTC as the entry has it."""
    text = str(value)
    return f"{text[:10]} {text[11:19]} UTC" if INSTANT.fullmatch(text) else text
