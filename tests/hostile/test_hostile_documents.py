"""A thousand documents that mean harm are refused at every door, while the site answers others."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
import requests

from tests.hostile.documents import WORDS, Hostile, documents, telemetry

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60
SENDERS = 4
JSON = "application/json"
PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class Doors:
    address: str
    token: str
    inbound: list[str]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    state = tmp_path_factory.mktemp("hostile")
    environment = {
        **os.environ,
        "ASSAY_STATE_DIR": str(state),
        "ASSAY_API_RATE": "0",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": "",
    }
    with (
        (state / "site.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.site"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (state / "site.log").read_text()
        yield Doors(**json.loads(line))
        assert process.stdin is not None
        process.stdin.close()


@dataclass(frozen=True)
class Sent:
    """A request, and what it must not be taken for."""

    method: str
    path: str
    what: Hostile
    content_type: str
    refused: bool


def everything(doors: Doors, *, every: int) -> Iterator[Sent]:
    """Yield what is sent: each document to each door that reads its kind, and each word in each address.

    The doors of the API, of which there are many alike, take turns: each gets every so many of the documents.
    """
    schema = requests.get(f"{doors.address}/api/v1/schema/?format=json", headers=doors.headers, timeout=DEADLINE).json()
    bodies = list(documents())
    takers = [path for path, operations in schema["paths"].items() if "requestBody" in operations.get("post", {})]
    plain = [path for path in takers if "{" not in path]
    for (door, path), (number, body) in itertools.product(enumerate(plain), enumerate(bodies)):
        if (door + number) % every == 0:
            yield Sent("POST", path, body, JSON, body.malformed)
    for path, body in itertools.product(doors.inbound, bodies):
        yield Sent("POST", path, body, JSON, False)  # what cannot be read is kept and shown
    for path, body in itertools.product(("/v1/metrics", "/v1/traces"), telemetry()):
        yield Sent("POST", path, body, PROTOBUF, body.malformed)
    for body in bodies:
        yield Sent("POST", "/v1/metrics", body, JSON, body.malformed)
        yield Sent("POST", "/v2/enqueue", body, JSON, body.malformed)
    for word in WORDS.values():
        part = quote(word[:500], safe="")
        for path in (
            "/api/v1/slos/?service=",
            "/search/?q=",
            "/static/",
            "/runbooks/",
            "/api/v1/services/",
            "/healthz?",
        ):
            yield Sent("GET", f"{path}{part}", Hostile(path, b"", False), JSON, False)


def answer_to(doors: Doors, sent: Sent, session: requests.Session) -> str:
    """Send it; return what is wrong with the answer, or nothing."""
    headers = {**doors.headers, "Content-Type": sent.content_type}
    if sent.what.encoding:
        headers["Content-Encoding"] = sent.what.encoding
    where = f"{sent.method} {sent.path[:80]} with {sent.what.name}"
    try:
        got = session.request(
            sent.method,
            doors.address + sent.path,
            data=sent.what.body,
            headers=headers,
            timeout=DEADLINE,
            allow_redirects=False,
        )
    except requests.ConnectionError as error:
        # A server may close the door on a body that it has no wish to read.
        return "" if len(sent.what.body) > 1_000_000 else f"{where}: {error}"
    if got.status_code >= 500:
        return f"{where}: {got.status_code} {got.text[:200]}"
    if sent.refused and got.status_code < 400:
        return f"{where}: taken with {got.status_code}"
    if "X-Injected" in got.headers or "root:x:0" in got.text:
        return f"{where}: it worked"
    return ""


class Others:
    """Somebody else who uses the site all the while."""

    def __init__(self, doors: Doors) -> None:
        self.answers: Counter[Any] = Counter()
        self._doors, self._over = doors, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._over.wait(0.2):
                for path in ("/healthz", "/api/v1/slos/"):
                    got = session.get(self._doors.address + path, headers=self._doors.headers, timeout=DEADLINE)
                    self.answers[path, got.status_code] += 1


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)], ids=["short", "long"])
def test_all_are_refused_and_the_site_answers_others_meanwhile(doors: Doors, every: int) -> None:
    work = list(everything(doors, every=every))
    assert len(work) > 1000

    def send(part: int) -> list[str]:
        with requests.Session() as session:
            return [wrong for sent in work[part::SENDERS] if (wrong := answer_to(doors, sent, session))]

    with Others(doors) as others, ThreadPoolExecutor(SENDERS) as pool:
        wrong = [one for part in pool.map(send, range(SENDERS)) for one in part]
    assert not wrong, f"{len(wrong)} of {len(work)}:\n" + "\n".join(wrong[:60])
    assert {status for _, status in others.answers} == {200}, others.answers
    assert not Path("/tmp/assay-was-here").exists()
