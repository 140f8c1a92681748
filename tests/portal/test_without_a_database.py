"""A site whose database is gone says so, to people and to programs."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ASK = """
import json, sys
import django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False)
answers = {}
for path in ("/healthz", "/readyz", "/", "/slos/", "/api/v1/slos/"):
    answer = client.get(path, headers={"Authorization": "Bearer assay_x"} if path.startswith("/api/") else {})
    answers[path] = [answer.status_code, answer.headers.get("Retry-After"), answer.content.decode()[:4000]]
client.cookies["sessionid"] = "x" * 32
answer = client.get("/slos/")
answers["signed in"] = [answer.status_code, answer.headers.get("Retry-After"), answer.content.decode()[:4000]]
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str | int | None]]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"postgresql://assay@127.0.0.1:{nobody.getsockname()[1]}/assay"
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            cwd=Path(__file__).resolve().parents[2],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": address,
                "ASSAY_STATE_DIR": str(tmp_path_factory.mktemp("state")),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[str | int | None]] = json.loads(done.stdout)
    return found


def test_the_process_is_alive_and_not_ready(answers: dict[str, list[str | int | None]]) -> None:
    assert answers["/healthz"][0] == 200
    assert answers["/readyz"][0] == 503


def test_a_page_says_what_is_wrong_and_when_to_come_back(answers: dict[str, list[str | int | None]]) -> None:
    status, retry_after, page = answers["signed in"]
    assert (status, retry_after) == (503, "5")
    assert "The database does not answer" in str(page)
    assert "Traceback" not in str(page)


def test_a_program_gets_json(answers: dict[str, list[str | int | None]]) -> None:
    status, retry_after, body = answers["/api/v1/slos/"]
    assert (status, retry_after) == (503, "5")
    assert "database" in json.loads(str(body))["detail"]
