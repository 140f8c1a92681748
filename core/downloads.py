"""Hand out large files so that an interrupted download goes on where it stopped (RFC 9110, section 14)."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

PIECE = 1024 * 1024
ONE_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")


def resumable_file(request: HttpRequest, place: Path, *, name: str, digest: str) -> HttpResponseBase:
    """Answer with a file, or with the one part of it that was asked for.

    `digest` names the content: a part is sent only while the client holds the beginning of the same content
    (`If-Range`). Several ranges at once are answered with the whole file, as the standard allows.
    """
    size = place.stat().st_size
    tag = f'"{digest}"'
    asked = ONE_RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    held = request.headers.get("If-Range", tag)
    if asked is None or asked.groups() == (None, None) or held != tag:
        whole = FileResponse(place.open("rb"), as_attachment=True, filename=name)
        whole["Accept-Ranges"], whole["ETag"] = "bytes", tag
        return whole
    start, end = _bounds(asked[1], asked[2], size)
    if start >= size or end < start:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Range": f"bytes {start}-{end}/{size}",
        "Content-Length": str(end - start + 1),
        "Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or "",
    }
    return StreamingHttpResponse(
        _part(place, start, end), status=206, content_type="application/octet-stream", headers=headers
    )


def _bounds(first: str | None, last: str | None, size: int) -> tuple[int, int]:
    """Return the first and the last byte; without a first one, `last` counts from the end."""
    if first is None:
        return max(0, size - int(last or 0)), size - 1
    return int(first), min(int(last), size - 1) if last is not None else size - 1


def _part(place: Path, start: int, end: int) -> Iterator[bytes]:
    with place.open("rb") as file:
        file.seek(start)
        left = end - start + 1
        while left > 0 and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece
