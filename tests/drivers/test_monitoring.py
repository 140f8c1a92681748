"""Assay tells a monitoring system how it is, and the rules that come with it say what to do."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from core import health, measuring
from core.beats import beat
from core.health import forget_readiness
from core.measuring import Figure, forget_figures
from core.periodic import ensure_jobs
from core.work import PeriodicJob
from drivers import figures
from drivers.services import site_certificate, site_check
from drivers.services.site_check import Verdict

pytestmark = [pytest.mark.django_db]
RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
# What is said only where there is such a thing.
ONLY_WHERE = {
    "assay_replica_up",
    "assay_replica_lag_seconds",
    "assay_partition_problems",
    "assay_certificate_expiry_timestamp_seconds",
    "assay_queue_dead_rows",
    "assay_queue_oldest_overdue_seconds",
}


@pytest.fixture(autouse=True)
def fresh(settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    forget_figures()
    forget_readiness()


@contextmanager
def tls_server(folder: Path, *, ends_in: timedelta) -> Iterator[int]:
    """A server that shows a certificate of its own, and says nothing; yields its port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now - timedelta(days=9), now + ends_in)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said() -> dict[str, float]:
    forget_figures()
    lines = Client().get("/metrics").content.decode().splitlines()
    return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[:1] != "#")}


@pytest.mark.database
def test_the_figures_say_what_is_late_and_who_works() -> None:
    beat("worker")
    ensure_jobs()
    PeriodicJob.objects.update(due_at=timezone.now() - timedelta(minutes=7), last_error="DatabaseError: no")
    found = said()
    assert found['assay_processes{kind="worker"}'] == 1
    assert found['assay_processes{kind="scheduler"}'] == 0
    assert found['assay_queue_oldest_overdue_seconds{queue="core.periodic"}'] >= 420
    assert found["assay_jobs_failing"] == PeriodicJob.objects.count()
    assert {found["assay_ready"], found["assay_database_writable"], found["assay_state_writable"]} == {1}
    assert not [name for name, value in found.items() if name.startswith("assay_part_unanswered") and value]


def test_each_rule_asks_for_figures_that_there_are() -> None:
    there = {name.partition("{")[0] for name in said()} | ONLY_WHERE
    rules = yaml.safe_load((RULES / "assay.rules.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        asked = set(re.findall(r"assay_\w+", rule["expr"]))
        assert asked <= there, rule["alert"]
        assert {"summary", "do"} == rule["annotations"].keys(), rule["alert"]


def test_a_part_that_cannot_be_asked_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> list[Figure]:
        raise OSError("no")

    monkeypatch.setitem(vars(measuring)["_parts"], "storage", measuring.Part("storage", breaks, of_database=False))
    found = said()
    assert found['assay_part_unanswered{part="storage"}'] == 1
    assert found['assay_part_unanswered{part="ledger"}'] == 0


def test_without_a_database_the_other_figures_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "readiness", lambda: health.Readiness(("it is gone",), {}, {}))
    found = said()
    assert (found["assay_ready"], found["assay_state_writable"]) == (0, 1)
    assert found['assay_part_unanswered{part="ledger"}'] == 1


def test_probes_are_answered_by_whatever_address(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["assay.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = Client(headers={"Host": "10.0.0.11:8000"}).get(path)
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store"), path
    elsewhere = Client(headers={"Host": "10.0.0.11:8000"}).get("/")
    assert (elsewhere.status_code, elsewhere["Location"]) == (301, f"https://{urlsplit(settings.SITE_URL).netloc}/")
    settings.SECURE_SSL_REDIRECT = False
    assert Client(headers={"Host": "10.0.0.11:8000"}).get("/").status_code == 400


def test_the_certificate_at_the_own_address_is_looked_at(settings: Any, tmp_path: Path) -> None:
    with tls_server(tmp_path, ends_in=timedelta(days=3)) as port:
        settings.SITE_URL = f"https://127.0.0.1:{port}"
        until = site_certificate.own_certificate_until()
        assert until is not None
        assert timedelta(days=2) < until - timezone.now() < timedelta(days=4)
        assert [one.value for one in figures.certificate()] == [until.timestamp()]
        found = vars(site_check)["_certificate"]()
    assert (found.verdict, "in 2 days" in found.says) == (Verdict.WARNING, True)
    with tls_server(tmp_path, ends_in=timedelta(days=-1)) as port:
        settings.SITE_URL = f"https://127.0.0.1:{port}"
        expired = vars(site_check)["_certificate"]()
    assert (expired.verdict, expired.says.startswith("Expired on")) == (Verdict.BAD, True)
    gone = vars(site_check)["_certificate"]()
    assert (gone.verdict, "does not answer from this machine" in gone.says) == (Verdict.WARNING, True)


@pytest.mark.integration
def test_each_alert_fires_when_it_should_and_no_other() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    done = subprocess.run(
        ["promtool", "test", "rules", "assay.rules.test.yml"], cwd=RULES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {one["name"] for one in yaml.safe_load((RULES / "assay.rules.test.yml").read_text())["tests"]}
    rules = yaml.safe_load((RULES / "assay.rules.yml").read_text())["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} <= tried


@pytest.mark.integration
def test_a_real_prometheus_scrapes_the_site_and_raises_an_alert(live_server: LiveServer, tmp_path: Path) -> None:
    if (binary := shutil.which("prometheus")) is None:
        pytest.skip("needs prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As it comes, but without the minute's patience.
    text = re.sub(r"for: \w+", "for: 0s", (RULES / "assay.rules.yml").read_text())
    (tmp_path / "assay.rules.yml").write_text(text)
    target = live_server.url.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["assay.rules.yml"],
        "scrape_configs": [{"job_name": "assay", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    firing: set[str] = set()
    try:
        deadline = time.monotonic() + 60
        while "AssayNoProcess" not in firing and time.monotonic() < deadline:
            time.sleep(0.3)
            try:
                found = requests.get(f"http://127.0.0.1:{port}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
            except requests.RequestException:
                continue
            firing = {one["labels"]["alertname"] for one in found if one["state"] == "firing"}
    finally:
        process.terminate()
        process.wait(30)
    assert "AssayNoProcess" in firing
    assert not firing & {"AssayDown", "AssayNotReady", "AssayDatabaseReadOnly", "AssayStateNotWritable"}
