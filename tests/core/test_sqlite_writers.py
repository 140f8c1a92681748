import os
import sqlite3
from pathlib import Path

import pytest

from tests.forking import DATABASE, fork, make_tables

pytestmark = [pytest.mark.long, pytest.mark.integration]

WRITER = """
from django.db import transaction
from core.events import Event
from django.utils import timezone
for number in range(60):
    with transaction.atomic():
        seen = Event.objects.count()
        Event.objects.create(kind="writer", payload={"seen": seen}, published_at=timezone.now())
"""


def test_four_processes_write_at_once_and_none_finds_the_database_locked(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": "",
        "ASSAY_STATE_DIR": str(tmp_path),
    }
    make_tables(tmp_path)
    with (tmp_path / "errors").open("w") as errors:
        writers = [fork("-c", WRITER, environment=environment, stderr=errors.fileno()) for _ in range(4)]
    ended = [writer.wait(240) for writer in writers]
    assert ended == [0, 0, 0, 0], (tmp_path / "errors").read_text()
    with sqlite3.connect(tmp_path / DATABASE) as database:
        seen = [
            row[0] for row in database.execute("SELECT json_extract(payload, '$.seen') FROM core_event ORDER BY id")
        ]
    database.close()
    assert seen == list(range(240))
