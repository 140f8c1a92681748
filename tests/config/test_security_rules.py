"""What a security linter finds in the product is judged where it stands, and templates escape."""

import re
import subprocess
import sys
from pathlib import Path

from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
UNESCAPED = re.compile(r"\|\s*safe(?:seq)?\b|\{%\s*autoescape\s+off")


def test_bandit_finds_nothing_that_was_not_judged() -> None:
    product = [app for app in settings.INSTALLED_APPS if (ROOT / app).is_dir()] + ["config"]
    found = subprocess.run(
        [sys.executable, "-m", "bandit", "--quiet", "--recursive", "-ll", *product],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


def test_templates_escape_what_they_show() -> None:
    templates = ROOT / "templates"
    unescaped = {
        str(path.relative_to(templates)) for path in templates.rglob("*.html") if UNESCAPED.search(path.read_text())
    }
    assert not unescaped
