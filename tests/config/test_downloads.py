"""An interrupted download goes on where it stopped."""

from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from core.downloads import resumable_file

# Closing a response tells the database that the request has ended.
pytestmark = pytest.mark.django_db
CONTENT = bytes(range(256)) * 10


@pytest.fixture
def place(tmp_path: Path) -> Path:
    file = tmp_path / "pack.zip"
    file.write_bytes(CONTENT)
    return file


def ask(place: Path, **headers: str) -> tuple[int, bytes, Any]:
    answer = resumable_file(RequestFactory().get("/", headers=headers), place, name="pack.zip", digest="abc")
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
    answer.close()
    return answer.status_code, body, answer.headers


def test_the_whole_file_says_that_parts_may_be_asked_for(place: Path) -> None:
    status, body, headers = ask(place)
    assert (status, body, headers["Accept-Ranges"], headers["ETag"]) == (200, CONTENT, "bytes", '"abc"')
    assert "pack.zip" in headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("bytes=0-9", 0, 9), ("bytes=2550-", 2550, 2559), ("bytes=-5", 2555, 2559)]
)
def test_a_part_is_sent(place: Path, asked: str, start: int, end: int) -> None:
    status, body, headers = ask(place, Range=asked)
    assert (status, body) == (206, CONTENT[start : end + 1])
    assert headers["Content-Range"] == f"bytes {start}-{end}/2560"
    assert headers["Content-Length"] == str(len(body))


def test_what_is_past_the_end_is_refused_and_what_has_changed_is_sent_whole(place: Path) -> None:
    assert ask(place, Range="bytes=9999-")[0] == 416
    assert ask(place, Range="bytes=9-3")[0] == 416
    changed = {"Range": "bytes=10-", "If-Range": '"other"'}
    assert ask(place, **changed)[:2] == (200, CONTENT)
    same = {"Range": "bytes=10-", "If-Range": '"abc"'}
    assert ask(place, **same)[:2] == (206, CONTENT[10:])
    for odd in ("bytes=0-1,5-6", "bytes=-", "lines=1-2"):
        assert ask(place, Range=odd)[:2] == (200, CONTENT)
