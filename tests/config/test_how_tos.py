"""What the how-tos say to type works: their files are written and their commands run, in order."""

import re
import shlex
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

HOW_TO = Path(settings.BASE_DIR) / "docs" / "how-to"
BLOCK = re.compile(
    r"(?:in `(?P<file>[\w.-]+\.yaml)`:\n\n)?^ *```(?P<kind>sh|yaml)\n(?P<body>.*?)^ *```", re.DOTALL | re.MULTILINE
)
MANAGE = ".venv/bin/python manage.py "
# The answer may be no, as when a control does not operate yet; wrong use and "could not tell" may not.
FINE = {0, 1}


def steps(text: str) -> list[tuple[str, str]]:
    """Return the blocks in order: a file's name with its text, or a command."""
    found: list[tuple[str, str]] = []
    for match in BLOCK.finditer(text):
        lines = match["body"].splitlines()
        depth = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        body = "\n".join(line[depth:] for line in lines)
        if match["kind"] == "yaml" and match["file"]:
            found.append((match["file"], body))
        elif match["kind"] == "sh":
            found += [("", line) for line in body.splitlines() if line.startswith(MANAGE)]
    return found


def run(line: str) -> int:
    name, *arguments = shlex.split(line.removeprefix(MANAGE))
    command = load_command_class(get_commands()[name], name)
    try:
        command.run_from_argv(["manage.py", name, *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.django_db
def test_a_team_an_experiment_and_an_audit_come_about_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("getpass.getpass", lambda *_: "")
    ran = 0
    for page in ("put-a-team-on-call.md", "run-a-first-experiment.md", "hold-an-audit.md"):
        for file, body in steps((HOW_TO / page).read_text()):
            if file:
                Path(file).write_text(body)
                continue
            code = run(body)
            said = capsys.readouterr()
            assert code in FINE, f"{page}: {body}\n{said.out}{said.err}"
            ran += 1
    assert ran >= 14
    assert (tmp_path / "pack.zip").stat().st_size > 1000
