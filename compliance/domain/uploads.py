"""What a file is, by its own bytes, and whether it may be kept. Nothing is believed of its name."""

import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

MAX_BYTES = 25 * 1024 * 1024
MAX_UNPACKED = 250 * 1024 * 1024
MAX_MEMBERS = 2_000
MAX_RATIO = 100
SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)
TEXTS = {"csv": "text/csv", "json": "application/json", "txt": "text/plain", "md": "text/markdown", "log": "text/plain"}
ALLOWED = "PDF, PNG, JPEG, ZIP, and text as CSV, JSON, TXT, MD or LOG are allowed"


@dataclass(frozen=True)
class Judged:
    """What a file is; `problem` says why it may not be kept, and is empty when it may."""

    media_type: str
    problem: str = ""


def judge_file(content: bytes, *, name: str) -> Judged:
    """Return what a file is by its first bytes, and what is wrong with it."""
    suffix = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if not content:
        judged = Judged("", "the file is empty")
    elif len(content) > MAX_BYTES:
        judged = Judged("", f"the file has {len(content)} bytes; at most {MAX_BYTES} are allowed")
    elif content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        judged = Judged("application/zip", archive_problem(content))
    elif kind := next((kind for start, kind in SIGNATURES if content.startswith(start)), ""):
        judged = _named(kind, suffix)
    elif suffix in TEXTS and b"\x00" not in content:
        judged = _text(content, TEXTS[suffix])
    else:
        judged = Judged("", f"the file is of a kind that is not kept here; {ALLOWED}")
    return judged


def archive_problem(content: bytes) -> str:
    """Say what is wrong with a ZIP file before anything of it is unpacked; nothing when it is harmless."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "the ZIP file cannot be read"
    return next(_member_problems(members), "")


def _member_problems(members: list[zipfile.ZipInfo]) -> Iterator[str]:
    unpacked = sum(one.file_size for one in members)
    if len(members) > MAX_MEMBERS:
        yield f"the ZIP file holds {len(members)} files; at most {MAX_MEMBERS} are allowed"
    if unpacked > MAX_UNPACKED:
        yield f"the ZIP file would unpack to {unpacked} bytes; at most {MAX_UNPACKED} are allowed"
    if any(one.file_size > MAX_RATIO * max(one.compress_size, 1) and one.file_size > 1_000_000 for one in members):
        yield f"a file in the ZIP file unpacks to more than {MAX_RATIO} times its size"
    if any(one.filename.lower().endswith((".zip", ".gz", ".bz2", ".xz", ".7z")) for one in members):
        yield "the ZIP file holds another archive"
    if any(one.filename.startswith("/") or ".." in one.filename.replace("\\", "/").split("/") for one in members):
        yield "the ZIP file holds a path that leads out of it"
    if any(stat.S_ISLNK(one.external_attr >> 16) for one in members):
        yield "the ZIP file holds a symbolic link"


def _text(content: bytes, media_type: str) -> Judged:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return Judged("", "the text is not UTF-8")
    return Judged(media_type)


def _named(media_type: str, suffix: str) -> Judged:
    wanted = {"application/pdf": {"pdf"}, "image/png": {"png"}, "image/jpeg": {"jpg", "jpeg"}}[media_type]
    if suffix and suffix not in wanted:
        return Judged(media_type, f"the name ends in .{suffix}, and the content is {media_type}")
    return Judged(media_type)
