"""`make audit` against a server that speaks as the OSV database does: what it finds, and what it cannot tell."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from compliance.domain.sarif import read_sarif

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration
Audit = Callable[..., subprocess.CompletedProcess[str]]
# As the database has it: a weakness with aliases, a range that ends, and versions named one by one.
KNOWN: dict[str, dict[str, Any]] = {
    "GHSA-462w-v97r-4m45": {
        "schema_version": "1.6.0",
        "id": "GHSA-462w-v97r-4m45",
        "summary": "Sandbox escape via string formatting.",
        "aliases": ["CVE-2019-10906", "PYSEC-2019-217"],
        "modified": "2024-09-24T21:03:43Z",
        "database_specific": {"severity": "HIGH", "cwe_ids": ["CWE-693"]},
        "affected": [
            {
                "package": {"name": "jinja2", "ecosystem": "PyPI", "purl": "pkg:pypi/jinja2"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}],
                "versions": ["2.9.6", "2.10"],
            }
        ],
    },
    "GHSA-with-draw-n000": {
        "id": "GHSA-with-draw-n000",
        "withdrawn": "2024-01-01T00:00:00Z",
        "modified": "2024-01-01T00:00:00Z",
        "affected": [{"package": {"name": "jinja2", "ecosystem": "PyPI"}, "versions": ["2.10"]}],
    },
}


class Osv(BaseHTTPRequestHandler):
    """Answers `/v1/querybatch` in pages of one, and `/v1/vulns/…`."""

    broken: str = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        results = [self._page(one) for one in asked]
        self._answer({"results": results[1:] if self.broken == "short" else results})

    def do_GET(self) -> None:
        if self.broken == "details":
            self.send_error(500)
        else:
            self._answer(KNOWN[self.path.removeprefix("/v1/vulns/")])

    def _page(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = (asked["package"]["name"], asked["package"]["ecosystem"], asked["version"])
        rows: list[dict[str, Any]] = [
            {"id": one["id"], "modified": one["modified"]}
            for one in KNOWN.values()
            for affected in (one["affected"][0],)
            if wanted[:2] == (affected["package"]["name"], affected["package"]["ecosystem"])
            and wanted[2] in affected["versions"]
        ]
        start = int(asked.get("page_token", 0))
        page: dict[str, Any] = {"vulns": rows[start : start + 1]} if rows else {}
        return page | ({"next_page_token": str(start + 1)} if len(rows) > start + 1 else {})

    def _answer(self, told: dict[str, Any]) -> None:
        body = b"<html>" if self.broken == "portal" else json.dumps(told).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def audit(database: str) -> Audit:
    def run(*arguments: str, url: str = database) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OSV_URL": url, "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-I", str(ROOT / "tools" / "audit.py"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def lock(folder: Path, *pins: str) -> str:
    file = folder / "some.lock"
    file.write_text("".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in pins))
    return str(file)


def test_a_known_weakness_fails_it_and_says_what_to_do(audit: Audit, tmp_path: Path) -> None:
    report = tmp_path / "report.sarif"
    done = audit("--sarif", str(report), "--lock", lock(tmp_path, "Jinja2==2.10", "idna==3.10"))
    assert done.returncode == 1, done.stderr
    assert "GHSA-462w-v97r-4m45, CVE-2019-10906, PYSEC-2019-217 high" in done.stdout
    assert "some.lock:1" in done.stdout
    assert "fixed in 2.10.1" in done.stdout
    assert "1 known weaknesses in 1 of 2 packages" in done.stdout
    assert "lock again" in done.stdout
    assert "GHSA-with-draw-n000" not in done.stdout
    [read] = read_sarif(json.loads(report.read_text()))
    assert [(one.rule, one.severity) for one in read.weaknesses] == [("GHSA-462w-v97r-4m45", "high")]


def test_what_the_site_has_locked_is_asked_about_whole(audit: Audit, tmp_path: Path) -> None:
    report = tmp_path / "report.sarif"
    done = audit("--sarif", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    pins = sum((ROOT / "requirements" / name).read_text().count("==") for name in ("run.lock", "ldap.lock"))
    assert int(done.stdout.split()[2]) > pins - 5
    assert read_sarif(json.loads(report.read_text()))[0].weaknesses == ()


@pytest.mark.parametrize("broken", ["short", "details", "portal", "silent"])
def test_what_cannot_be_told_is_never_none(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(Osv, "broken", broken)
    report = tmp_path / "report.sarif"
    chosen = {"url": "http://127.0.0.1:9"} if broken == "silent" else {}
    done = audit("--sarif", str(report), "--lock", lock(tmp_path, "jinja2==2.10"), **chosen)
    assert done.returncode == 3
    assert "COULD NOT TELL" in done.stderr
    assert "not the same as none" in done.stderr
    assert done.stdout == ""
    assert not report.exists()


def test_an_empty_or_missing_lock_is_no_good_news(audit: Audit, tmp_path: Path) -> None:
    assert audit("--lock", lock(tmp_path)).returncode == 3
    assert audit("--lock", str(tmp_path / "none.lock")).returncode == 3
    assert audit("--lock", lock(tmp_path, "idna==3.10"), url="file:///etc/passwd").returncode == 3
