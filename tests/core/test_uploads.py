"""Files that people bring are shown to the organization's scanner first."""

import sys
from pathlib import Path

import pytest
from pytest_django import Settings

from core.uploads import scanner_objects

SCANNER = """
import sys
content = sys.stdin.buffer.read()
sys.exit(2 if b"odd" in content else 1 if b"EICAR" in content else 0)
"""


@pytest.fixture
def scanner(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "my scanner.py"
    path.write_text(SCANNER)
    settings.UPLOAD_SCANNER = f"{sys.executable} '{path}'"


def test_without_a_scanner_nothing_is_said(settings: Settings) -> None:
    settings.UPLOAD_SCANNER = ""
    assert scanner_objects(b"EICAR") == ""


@pytest.mark.usefixtures("scanner")
def test_it_says_what_is_harmful_and_what_it_cannot_tell() -> None:
    assert scanner_objects(b"a report") == ""
    assert "harmful" in scanner_objects(b"EICAR")
    assert "could not tell" in scanner_objects(b"odd")


def test_a_scanner_that_is_not_there_objects(settings: Settings) -> None:
    settings.UPLOAD_SCANNER = "/no/such/scanner -"
    assert "could not be started" in scanner_objects(b"a report")
