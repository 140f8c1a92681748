import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.integration]

WRITER = """
import django
django.setup()
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
        "DATABASE_URL": f"sqlite:///{tmp_path / 'site.sqlite3'}",
        "ASSAY_STATE_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True, timeout=120)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER], env=environment, stderr=subprocess.PIPE) for _ in range(4)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors.decode()
    with sqlite3.connect(tmp_path / "site.sqlite3") as database:
        seen = [
            row[0] for row in database.execute("SELECT json_extract(payload, '$.seen') FROM core_event ORDER BY id")
        ]
    database.close()
    assert seen == list(range(240))
