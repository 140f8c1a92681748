"""Entries are told outside at least once, in order, from a committed cursor; against real servers on this machine."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.services import create_user, grant_role
from core.events import Event
from core.leases import StaleFenceError, claim_due
from core.work import drain
from delivery.data import verify
from delivery.models import Notification
from ledger.data.access import AuditedAction
from ledger.domain.syslog import framed, syslog_message
from ledger.models import Forwarder, LedgerEntry, LogHead, Seal
from ledger.services import (
    FORWARD_QUEUE,
    ForwarderRefusedError,
    ForwarderSetup,
    add_forwarder,
    record,
    resume_forwarder,
    rewind_forwarder,
    seal_pending,
)
from ledger.services.forwarding import documents, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SYSTEM = system_principal("test")
SERVER = Path(__file__).with_name("syslog_server.py")


def write(count: int) -> None:
    for number in range(count):
        record(AuditedAction(action="lamp.lit", target=f"№ {number}"), actor="user:1", subject=f'lamp:"{number}]')
    seal_pending()


def add(kind: str, address: str, **more: Any) -> Forwarder:
    setup = ForwarderSetup(name="siem", kind=kind, address=address, allow=("127.0.0.1", "localhost"), **more)
    return add_forwarder(principal=SYSTEM, setup=setup)[0]


def turn() -> Forwarder:
    """Let the destination be told now, whatever it waits for."""
    Forwarder.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    drain(FORWARD_QUEUE)
    return Forwarder.objects.get()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "siem.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def trust(certificate: Path) -> str:
    return certificate.read_text().split("-----BEGIN PRIVATE")[0]


@contextmanager
def syslog_server(certificate: Path, kept: Path, *, port: int = 0, die_after: int = 0) -> Iterator[int]:
    command = [sys.executable, str(SERVER), str(certificate), str(kept), str(port), str(die_after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def seqs(kept: Path) -> list[int]:
    return [int(found) for found in re.findall(r'assay@32473 seq="(\d+)"', kept.read_text())]


@pytest.mark.integration
def test_a_syslog_server_killed_in_the_middle_loses_nothing(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGEST_BATCH", 20)
    kept = tmp_path / "kept"
    write(70)
    with syslog_server(certificate, kept, die_after=50) as port:
        add("syslog", f"tls://127.0.0.1:{port}", trust=trust(certificate))
        row = turn()
    assert row.next_seq == 40, "two batches of twenty were confirmed, the third was not"
    assert row.status == "retrying"
    assert seqs(kept) == list(range(50))
    with syslog_server(certificate, kept, port=port):
        row = turn()
        assert (row.next_seq, row.status, row.last_error) == (Seal.objects.count(), "connected", "")
    received = seqs(kept)
    assert received == [*range(50), *range(40, Seal.objects.count())], "in order, and repeated only at the seam"
    line = kept.read_bytes().splitlines()[0]
    assert re.match(rb'<110>1 \d{4}-\d\d-\d\dT[\d:.]+Z [!-~]+ assay - audit\.action \[assay@32473 seq="0" ', line)
    assert b'subject="lamp:\\"0\\]"' in line
    said = orjson.loads(line.split(b"\xef\xbb\xbf")[1])
    assert said["payload"]["target"] == "№ 0"
    assert said["leaf_hash"] == bytes(Seal.objects.get(seq=0).leaf_hash).hex()


@pytest.mark.integration
def test_a_syslog_server_with_a_foreign_certificate_is_told_nothing(certificate: Path, tmp_path: Path) -> None:
    write(1)
    with syslog_server(certificate, tmp_path / "kept") as port:
        add("syslog", f"tls://127.0.0.1:{port}")
        row = turn()
    assert "certificate" in row.last_error.lower()
    assert row.next_seq == 0
    assert seqs(tmp_path / "kept") == []


class Receiver(ThreadingHTTPServer):
    """Keeps what it gets and answers as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.got: list[tuple[dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, b"")
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def told_seqs(body: bytes) -> list[int]:
    request = ExportLogsServiceRequest.FromString(body)
    [scope] = request.resource_logs[0].scope_logs
    return [
        next(one.value.int_value for one in found.attributes if one.key == "assay.ledger.seq")
        for found in scope.log_records
    ]


def test_otlp_is_told_again_until_it_accepts_and_counts_what_it_refuses(receiver: Receiver) -> None:
    write(3)
    partial = ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess(rejected_log_records=1))
    receiver.answers = [(503, b""), (200, partial.SerializeToString())]
    address = f"http://127.0.0.1:{receiver.server_port}/v1/logs"
    row = add("otlp", address, secret="Authorization: Bearer planted-secret")
    size = Seal.objects.count()
    assert turn().next_seq == 0
    row = turn()
    assert (row.next_seq, row.told, row.refused) == (size, size, 1)
    assert [told_seqs(body) for _, body in receiver.got] == [list(range(size))] * 2
    assert receiver.got[0][0]["authorization"] == "Bearer planted-secret"
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM ledger_forwarder")
        assert "planted" not in cursor.fetchone()[0]
    said = [entry.payload for entry in LedgerEntry.objects.select_related("content")]
    assert "planted" not in str(said)


def test_a_webhook_is_signed_and_a_repeat_has_the_same_identity(receiver: Receiver) -> None:
    write(2)
    address = f"http://127.0.0.1:{receiver.server_port}/hook"
    setup = ForwarderSetup(name="siem", kind="webhook", address=address, allow=("127.0.0.1",))
    row, secret = add_forwarder(principal=SYSTEM, setup=setup)
    assert secret.startswith("whsec_")
    receiver.answers = [(500, b"no")]
    turn()
    row = turn()
    assert row.status == "connected"
    (first, body), (second, again) = receiver.got
    assert first["webhook-id"] == second["webhook-id"]
    verify(
        [secret],
        message_id=second["webhook-id"],
        timestamp=second["webhook-timestamp"],
        signatures=second["webhook-signature"],
        body=again,
        now=timezone.now().timestamp(),
    )
    told = orjson.loads(body)["data"]
    assert [entry["seq"] for entry in told["entries"]] == list(range(told["first_seq"], told["last_seq"] + 1))


def test_a_worker_that_dies_after_telling_leaves_the_cursor_and_a_stale_one_cannot_move_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(2)
    add("webhook", f"http://127.0.0.1:{receiver.server_port}/")
    [stale] = claim_due(Forwarder.objects.all(), lease_for=timedelta(seconds=60))
    with monkeypatch.context() as patch:
        patch.setattr(running, "_advance", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            running.forward(stale)
    Forwarder.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    row = turn()
    told = [[entry["seq"] for entry in orjson.loads(body)["data"]["entries"]] for _, body in receiver.got]
    assert told[0] == told[1]
    assert row.next_seq == told[1][-1] + 1
    with pytest.raises(StaleFenceError):
        running._advance(stale, seq=1, count=1, refused=0)
    assert Forwarder.objects.get().next_seq == row.next_seq


def test_a_destination_that_stays_away_opens_the_circuit_alarms_once_and_gives_the_all_clear(
    receiver: Receiver,
) -> None:
    admin = create_user(principal=SYSTEM, username="admin", password=None, email="admin@example.org")
    grant_role(principal=SYSTEM, user=admin, role=Role.ADMIN)
    write(1)
    receiver.answers = [(500, b"")] * 6
    add("webhook", f"http://127.0.0.1:{receiver.server_port}/", alarm_after=timedelta(minutes=1))
    seal_pending()
    Seal.objects.update(sealed_at=timezone.now() - timedelta(hours=1))
    for _ in range(6):
        row = turn()
    assert (row.status, row.circuit) == ("failing", "open")
    assert row.due_at - timezone.now() > timedelta(seconds=30)
    assert Event.objects.filter(kind="ledger.forwarder-behind").count() == 1
    said = [entry.payload or {} for entry in LedgerEntry.objects.filter(subject="forwarder:siem")]
    assert [one["action"] for one in said] == ["forwarder.fell_behind", "forwarder.added"]
    drain("core.events")
    [told] = Notification.objects.filter(recipient=f"user:{admin.pk}")
    assert "is behind" in told.title
    resume_forwarder(principal=SYSTEM, row=row)
    seal_pending()
    assert turn().status == "connected"


def test_sealing_wakes_a_destination_that_has_everything(receiver: Receiver) -> None:
    add("webhook", f"http://127.0.0.1:{receiver.server_port}/")
    seal_pending()
    row = turn()
    assert row.next_seq == Seal.objects.count()
    write(1)
    drain(FORWARD_QUEUE)
    assert len(receiver.got) == 1, "it sleeps until it is woken"
    running.nudge_forwarders()
    drain(FORWARD_QUEUE)
    assert Forwarder.objects.get().next_seq == LogHead.objects.get().size


def test_a_cursor_is_moved_with_a_reason_and_recorded() -> None:
    write(3)
    row = add("webhook", "https://siem.example.org/")
    with pytest.raises(ForwarderRefusedError, match="reason"):
        rewind_forwarder(principal=SYSTEM, row=row, seq=1, reason=" ")
    with pytest.raises(ForwarderRefusedError, match="cannot be told"):
        rewind_forwarder(principal=SYSTEM, row=row, seq=999, reason="x")
    rewind_forwarder(principal=SYSTEM, row=row, seq=2, reason="the SIEM was restored")
    assert Forwarder.objects.get().next_seq == 2
    assert LedgerEntry.objects.filter(subject="forwarder:siem").count() == 2


@pytest.mark.parametrize(
    ("kind", "address", "problem"),
    [
        ("syslog", "tcp://siem.example.org:514", "without TLS"),
        ("syslog", "https://siem.example.org", "tls://"),
        ("otlp", "http://siem.example.org/v1/logs", "without TLS"),
        ("webhook", "https://name:word@siem.example.org/", "password"),
        ("carrier-pigeon", "https://siem.example.org/", "kinds"),
    ],
)
def test_what_cannot_work_is_refused(kind: str, address: str, problem: str) -> None:
    with pytest.raises(ForwarderRefusedError, match=problem):
        add(kind, address)


def test_a_private_address_is_told_nothing_unless_it_is_allowed() -> None:
    write(1)
    setup = ForwarderSetup(name="siem", kind="syslog", address="tls://10.1.2.3:6514")
    add_forwarder(principal=SYSTEM, setup=setup)
    assert "not public" in turn().last_error


def test_frames_count_octets_and_headers_hold_only_what_they_may() -> None:
    message = syslog_message(timestamp="-", hostname="a b\n", message_id="", values={"k": 'a"]\\'}, text="ü".encode())
    assert message == b'<110>1 - a_b_ assay - - [assay@32473 k="a\\"\\]\\\\"] \xef\xbb\xbf\xc3\xbc'
    assert framed([message, b"x"]) == b"%d %s1 x" % (len(message), message)


def test_the_pages_and_the_command_set_it_up(capsys: pytest.CaptureFixture[str]) -> None:
    for name, role in (("admin", Role.ADMIN), ("carol", Role.COMPLIANCE_MANAGER)):
        grant_role(principal=SYSTEM, user=create_user(principal=SYSTEM, username=name, password=None), role=role)
    one = Client(raise_request_exception=False)
    one.force_login(User.objects.get(username="admin"))
    given = {
        "name": "siem", "kind": "webhook", "address": "https://siem.example.org/", "alarm_minutes": "15",
        "confirmation": "end",
    }  # fmt: skip
    assert one.post("/settings/forwarding/add/", {**given, "address": "ftp://x"}).status_code == 400
    answer = one.post("/settings/forwarding/add/", given)
    assert "whsec_" in answer.content.decode()
    page = one.get("/settings/forwarding/siem/").content.decode()
    assert "whsec_" not in page
    assert "siem" in one.get("/settings/forwarding/").content.decode()
    for step in ("pause", "resume"):
        assert one.post("/settings/forwarding/siem/", {"step": step}).status_code == 302
    assert one.post("/settings/forwarding/siem/", {"step": "rewind", "seq": "0"}).status_code == 400
    reader = Client(raise_request_exception=False)
    reader.force_login(User.objects.get(username="carol"))
    for address in ("/settings/forwarding/", "/settings/forwarding/add/", "/settings/forwarding/siem/"):
        assert reader.get(address).status_code == 403
        assert Client().get(address).status_code == 302
    call_command("forwarder", "list", "--format", "json")
    assert orjson.loads(capsys.readouterr().out)[0]["name"] == "siem"
    call_command(
        "forwarder", "add", "second", "--kind", "webhook", "--to", "https://other.example.org/", "--from", "now"
    )
    assert "whsec_" in capsys.readouterr().out
    call_command("forwarder", "rewind", "second", "0", "--reason", "from the beginning")
    call_command("forwarder", "remove", "second")
    assert one.post("/settings/forwarding/siem/", {"step": "remove"}).status_code == 302
    assert one.get("/settings/forwarding/siem/").status_code == 404
