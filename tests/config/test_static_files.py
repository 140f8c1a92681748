"""Collected static files are sent compressed, with a tag by which a browser asks again."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client


@pytest.mark.parametrize("collected", [True, False])
def test_the_compressed_copy_is_sent_where_files_were_collected(settings: Any, tmp_path: Path, collected: bool) -> None:
    assert (site.ENVIRONMENT.assay_static_dir is None) == site.WHITENOISE_USE_FINDERS
    text = (Path(site.BASE_DIR) / "static" / "assay.css").read_bytes()
    (tmp_path / "assay.css").write_bytes(text)
    (tmp_path / "assay.css.gz").write_bytes(gzip.compress(text))
    settings.STATIC_ROOT = tmp_path
    settings.WHITENOISE_USE_FINDERS = not collected
    settings.WHITENOISE_AUTOREFRESH = False
    answer = Client(headers={"Accept-Encoding": "gzip"}).get("/static/assay.css")
    sent = answer.getvalue()
    assert answer.headers.get("Content-Encoding") == ("gzip" if collected else None)
    assert (gzip.decompress(sent) if collected else sent) == text
    assert answer.headers["ETag"]
