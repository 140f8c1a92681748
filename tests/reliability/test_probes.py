"""Probes against real servers: what is good, what is bad, what nobody can tell."""

import dataclasses
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.data import Capability, Role
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.clock import database_now
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain
from ledger.selectors import entries
from reliability.domain.budgets import Counts
from reliability.domain.probes import Outcome, ProbeSpec, counted_turn, judged, turns_due
from reliability.models import SLO, Probe, SLOVersion
from reliability.selectors import data_statuses, detailed_statuses
from reliability.services import apply_documents
from reliability.services.probe_requests import send_probe
from tests.reliability.conftest import SITE, apply, minutes_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLO_YAML = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: front-door}
spec:
  service: gateway
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.99}]
  indicator:
    metadata: {name: front-door}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: probe, spec: {http: "URL", every: 10s, timeout: 2s, within: 500ms}}}
        total: {metricSource: {type: probe, spec: {http: "URL", every: 10s, timeout: 2s}}}
"""


class Site(BaseHTTPRequestHandler):
    status, pause, body = 200, 0.0, b"well"

    def do_GET(self) -> None:
        time.sleep(self.pause)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        with suppress(BrokenPipeError):
            self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, type[Site]]]:
    handler = type("Handler", (Site,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/healthz", handler
    server.shutdown()
    server.server_close()


def spec(kind: str, target: str, **more: Any) -> ProbeSpec:
    return ProbeSpec(kind, target, timedelta(seconds=10), timedelta(seconds=2), **more)


@pytest.mark.integration
def test_an_answer_is_judged_by_its_status_its_text_and_its_time(site: tuple[str, type[Site]]) -> None:
    url, handler = site
    good = send_probe(spec("http", url, contains="well"), allow_private=True)
    assert (good.problem, good.sent) == ("", True)
    assert judged(spec("http", url), good) == Counts(good=1)
    assert "does not contain" in send_probe(spec("http", url, contains="ill"), allow_private=True).problem
    handler.pause = 0.3
    slow = send_probe(spec("http", url), allow_private=True)
    assert judged(spec("http", url, within=timedelta(seconds=0.2)), slow) == Counts(bad=1)
    handler.pause, handler.status = 0.0, 503
    assert send_probe(spec("http", url), allow_private=True).problem == "HTTP status 503"


@pytest.mark.integration
def test_silence_a_closed_port_and_an_unknown_name_are_bad_events(site: tuple[str, type[Site]]) -> None:
    url, handler = site
    handler.pause = 3.0
    quick = ProbeSpec("http", url, timedelta(seconds=10), timedelta(seconds=0.3))
    silent = send_probe(quick, allow_private=True)
    assert silent.problem == "no answer in time"
    assert silent.seconds < 2
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{found.getsockname()[1]}"
    for outcome in (
        send_probe(spec("tcp", closed), allow_private=True),
        send_probe(spec("tcp", "nowhere.invalid:80"), allow_private=True),
    ):
        assert outcome.sent
        assert outcome.problem
    assert send_probe(spec("tcp", url.split("/")[2]), allow_private=True).problem == ""


@pytest.mark.integration
def test_a_private_address_that_nobody_allowed_is_not_an_event(site: tuple[str, type[Site]]) -> None:
    outcome = send_probe(spec("http", site[0]), allow_private=False)
    assert not outcome.sent
    assert "not public" in outcome.problem


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A TLS server whose certificate ends in two days; yields its address and the certificate."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    (folder / "server.pem").write_text(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"localhost:{server.server_address[1]}", pem
    server.shutdown()
    server.server_close()


@pytest.mark.integration
def test_a_certificate_is_checked_and_must_be_valid_long_enough(tls: tuple[str, str]) -> None:
    address, pem = tls
    known = spec("tls", address, certificates=pem)
    assert send_probe(known, allow_private=True).problem == ""
    assert "TLS" in send_probe(spec("tls", address), allow_private=True).problem
    ending = spec("tls", address, certificates=pem, valid_for=timedelta(days=7))
    assert "the certificate ends on" in send_probe(ending, allow_private=True).problem
    page = spec("http", f"https://{address}/", certificates=pem)
    assert send_probe(page, allow_private=True).problem == ""
    assert "TLS" in send_probe(spec("http", f"https://{address}/"), allow_private=True).problem


def run_due() -> SLOVersion:
    drain("reliability.probe", limit=1)
    return SLOVersion.objects.get(retired_at__isnull=True)


@pytest.mark.integration
@pytest.mark.django_db
def test_turns_become_events_of_the_slo_and_their_grid_is_kept(catalog: None, site: tuple[str, type[Site]]) -> None:
    url, handler = site
    apply(SLO_YAML.replace("URL", url))
    row = Probe.objects.get()
    assert row.due_at == row.begins_at
    begin = row.begins_at
    with time_machine.travel(begin + timedelta(seconds=1), tick=False):
        run_due()
        assert drain("reliability.probe", limit=1) == 0
    handler.status = 500
    with time_machine.travel(begin + timedelta(seconds=12), tick=False):
        run_due()
    row.refresh_from_db()
    assert (row.due_at, row.missed, row.last_problem) == (begin + timedelta(seconds=20), 0, "HTTP status 500")
    handler.status = 200
    with time_machine.travel(begin + timedelta(seconds=41), tick=False):
        version = run_due()
        (status,) = detailed_statuses([SLO.objects.get()], now=database_now())
    counts = sum((counts for _, counts in minutes_of(version)), Counts())
    assert (counts.good, counts.bad) == (2, 1)
    row.refresh_from_db()
    assert (row.missed, row.due_at) == (2, begin + timedelta(seconds=50))
    assert (status.counts.good, status.counts.bad, status.mode, status.data_state) == (2, 1, "pushed", "OK")
    assert "2 turns could not be run" in status.data_detail
    (declared,) = entries(types=["slo.data_source_declared"])
    assert (declared.payload or {})["host_allowed"] is True


@pytest.mark.integration
@pytest.mark.django_db
def test_a_target_that_hangs_holds_no_other_up(catalog: None, site: tuple[str, type[Site]]) -> None:
    url, _ = site
    hanging = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
    apply(SLO_YAML.replace("URL", address).replace("timeout: 2s", "timeout: 1s"))
    # Patient with the others: it is the one that hangs, not a busy machine, that may hold them up.
    patient = SLO_YAML.replace("timeout: 2s", "timeout: 10s").replace("within: 500ms", "within: 10s")
    for number in range(5):
        apply(patient.replace("URL", url).replace("front-door", f"other-{number}"))
    started = time.monotonic()
    with time_machine.travel(database_now() + timedelta(seconds=1), tick=False):
        drain("reliability.probe", limit=1)
    hanging.close()
    assert time.monotonic() - started < 20
    counts = {
        version.slo.slug: sum((one for _, one in minutes_of(version)), Counts())
        for version in SLOVersion.objects.select_related("slo")
    }
    assert (counts.pop("front-door").bad, {one.good for one in counts.values()}) == (1, {1})


@pytest.mark.django_db
def test_who_may_not_administer_the_site_allows_no_private_address(catalog: None) -> None:
    user = create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=user, role=Role.ADMIN)
    editor = dataclasses.replace(principal_for_user(user=user), scopes=frozenset({Capability.SLO_EDIT}))
    documents = load_yaml_documents(SLO_YAML.replace("URL", "http://127.0.0.1:9/"), source="slo.yaml")
    apply_documents(principal=editor, documents=documents, source="slo.yaml")
    with time_machine.travel(database_now() + timedelta(seconds=1), tick=False):
        version = run_due()
    (status,) = data_statuses([version]).values()
    assert status.state == "NOT ALLOWED"
    assert minutes_of(version) == []


@pytest.mark.django_db
def test_another_target_begins_anew_and_a_retired_slo_is_not_probed(catalog: None) -> None:
    apply(SLO_YAML.replace("URL", "http://127.0.0.1:9/"))
    first = Probe.objects.get()
    apply(SLO_YAML.replace("URL", "http://127.0.0.1:9/").replace("0.99", "0.95"))
    assert Probe.objects.get() == first
    apply(SLO_YAML.replace("URL", "http://127.0.0.1:10/"))
    assert Probe.objects.get().version_id != first.version_id
    apply_documents(principal=SITE, documents=[], source="nothing", prune=True)
    assert not Probe.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("every: 10s, timeout: 20s", "timeout is at most every"),
        ("every: 10m", "every is from 1s to 2m"),
        ("tcp: 'x:1'", "give one of"),
        ("evry: 10s", "evry"),
    ],
)
def test_a_probe_that_could_not_work_is_refused(catalog: None, wrong: str, said: str) -> None:
    text = SLO_YAML.replace("URL", "http://example.com/").replace("every: 10s, timeout: 2s", wrong)
    with pytest.raises(InputRefusedError, match=said):
        apply(text)


@settings(deadline=None)
@given(st.integers(1, 120), st.integers(0, 100_000))
def test_turns_stay_on_their_grid_however_late_they_are_run(every: int, late: int) -> None:
    length = timedelta(seconds=every)
    missed, turn = turns_due(NOON, length, NOON + timedelta(seconds=late))
    assert (turn - NOON) % length == timedelta(0)
    assert timedelta(0) <= NOON + timedelta(seconds=late) - turn < length
    assert len(missed) == late // every


def test_minutes_between_two_turns_are_measured_and_a_missed_one_there_is_unknown() -> None:
    found = counted_turn(
        Counts(good=1), started=NOON + timedelta(minutes=2), before=NOON, missed=[], every=timedelta(minutes=2)
    )
    minute = int(NOON.timestamp() // 60)
    assert found == {minute + 2: Counts(good=1), minute + 1: Counts()}
    missed = [NOON + timedelta(seconds=20), NOON + timedelta(minutes=3)]
    found = counted_turn(
        Counts(bad=1), started=NOON + timedelta(minutes=10), before=NOON, missed=missed, every=timedelta(seconds=10)
    )
    assert found == {minute + 10: Counts(bad=1), minute: Counts(unknown=1, unknown_low=1)}
    assert Outcome(1.0).sent
