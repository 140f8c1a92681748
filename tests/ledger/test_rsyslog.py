"""A real rsyslog takes what is forwarded: over TLS, framed by octets, in order, whole, and again after it has died."""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.utils import timezone

from accounts.data import system_principal
from core.work import drain
from ledger.data.access import AuditedAction
from ledger.models import Forwarder, Seal
from ledger.services import FORWARD_QUEUE, ForwarderSetup, add_forwarder, record, seal_pending
from ledger.services.forwarding import documents, running, senders

RSYSLOG = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/sbin")
TLS = next(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"), None)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.django_db,
    pytest.mark.skipif(not RSYSLOG or not TLS, reason="needs rsyslog and rsyslog-gnutls"),
]

CONFIGURATION = """
global(
  workDirectory="FOLDER" maxMessageSize="128k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="FOLDER/ca.pem" defaultNetstreamDriverCertFile="FOLDER/server.pem"
  defaultNetstreamDriverKeyFile="FOLDER/server.key"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="AUTH" PERMITTED)
template(name="kept" type="list" option.jsonf="on") {
  property(outname="raw" name="rawmsg" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="priority" name="pri" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="kind" name="msgid" format="jsonf")
  property(outname="at" name="timereported" dateFormat="rfc3339" format="jsonf")
}
ruleset(name="keep") { action(type="omfile" file="FOLDER/kept.json" template="kept") }
input(type="imtcp" address="127.0.0.1" port="PORT" listenPortFileName="FOLDER/port" ruleset="keep")
"""


def made_key() -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, and certificates of it for the server and for one client."""
    folder = tmp_path_factory.mktemp("rsyslog")
    authority, _ = made_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    now = datetime.now(UTC)
    for serial, name in enumerate(("ca", "server", "client"), start=1):
        key, pem = (authority, "") if name == "ca" else made_key()
        subject = issuer if name == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.test")])
        names: list[x509.GeneralName] = [x509.DNSName(f"{name}.test"), x509.IPAddress(ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), serial)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .sign(authority, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_text(pem)
    return folder


class Rsyslog:
    """A server that can be killed and started again on its port."""

    def __init__(self, folder: Path, *, authorize: str) -> None:
        self.folder, self.authorize = folder, authorize
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "port").unlink(missing_ok=True)
        text = CONFIGURATION.replace("FOLDER", str(self.folder)).replace("PORT", str(self.port))
        named = f'permittedPeer="{self.authorize}"' if self.authorize else ""
        text = text.replace("AUTH", "x509/name" if named else "anon").replace("PERMITTED", named)
        (self.folder / "rsyslog.conf").write_text(text)
        command = [str(RSYSLOG), "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said)
        deadline = time.monotonic() + 60
        while not self._listens():
            assert time.monotonic() < deadline, (self.folder / "said").read_text()
            assert self.process.poll() is None, (self.folder / "said").read_text()
            time.sleep(0.05)

    def _listens(self) -> bool:
        """Say whether it takes connections; the file with its port is written only where it chose the port."""
        if not self.port:
            path = self.folder / "port"
            self.port = int(path.read_text() or 0) if path.exists() else 0
            return bool(self.port)
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)

    def kept(self, count: int) -> list[dict[str, Any]]:
        """Return what it has written, once it is that many lines."""
        deadline = time.monotonic() + 30
        path = self.folder / "kept.json"
        while True:
            lines = path.read_bytes().splitlines() if path.exists() else []
            if len(lines) >= count or time.monotonic() > deadline:
                return [json.loads(one) for one in lines]
            time.sleep(0.05)


@contextmanager
def rsyslog(papers: Path, folder: Path, *, authorize: str = "") -> Iterator[Rsyslog]:
    for name in ("ca.pem", "server.pem", "server.key"):
        shutil.copy(papers / name, folder)
    server = Rsyslog(folder, authorize=authorize)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)


def write(*targets: str, subject: str = "lamp:1") -> None:
    for target in targets:
        record(AuditedAction(action="lamp.lit", target=target), actor="user:1", subject=subject)
    seal_pending()


def add(server: Rsyslog, papers: Path, **more: Any) -> Forwarder:
    setup = ForwarderSetup(
        name="siem",
        kind="syslog",
        address=f"tls://127.0.0.1:{server.port}",
        allow=("127.0.0.1",),
        trust=(papers / "ca.pem").read_text(),
        **more,
    )
    return add_forwarder(principal=system_principal("test"), setup=setup)[0]


def turn() -> Forwarder:
    Forwarder.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    drain(FORWARD_QUEUE)
    return Forwarder.objects.get()


def seq_of(line: dict[str, Any]) -> int:
    return int(line["data"].partition('seq="')[2].partition('"')[0])


TARGETS = ("one", "zwei\nlines\tand \x07", "№ 3 ü ✓ \U0001f600", 'back\\slash "quote" ]bracket', "x" * 50_000)
SUBJECT = 'lamp:"4]\\№'


def test_rsyslog_keeps_every_message_whole_and_in_order(papers: Path, tmp_path: Path) -> None:
    write(*TARGETS, subject=SUBJECT)
    with rsyslog(papers, tmp_path) as server:
        add(server, papers)
        row = turn()
        assert (row.next_seq, row.status) == (0, "retrying")
        assert "rsyslog does not" in row.last_error
        # What was not confirmed it may have read all the same, and writes at the latest when it stops.
        server.stop()
        (tmp_path / "kept.json").unlink(missing_ok=True)
        server.start()
        Forwarder.objects.update(confirmation=Forwarder.Confirmation.END)
        row = turn()
        assert (row.next_seq, row.status, row.last_error) == (Seal.objects.count(), "connected", "")
        lines = server.kept(Seal.objects.count())
    assert [seq_of(one) for one in lines] == list(range(Seal.objects.count()))
    lit = [one for one in lines if one["kind"] == "audit.action"]
    # What rsyslog has parsed out of a message is what was put in.
    assert {(one["priority"], one["app"]) for one in lit} == {("110", "assay")}
    assert all(one["raw"].encode().startswith(b"<110>1 20") for one in lit)
    bodies = [json.loads(one["text"].removeprefix("\ufeff")) for one in lit]
    assert [one["payload"]["target"] for one in bodies] == list(TARGETS)
    assert {one["subject"] for one in bodies} == {SUBJECT}
    escaped = SUBJECT.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    assert all(f'subject="{escaped}"' in one["data"] for one in lit)
    assert all(one["data"].startswith("[assay@32473 ") and one["data"].endswith('"]') for one in lit)


def test_rsyslog_killed_between_batches_gets_the_rest_when_it_is_back(
    papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGEST_BATCH", 20)
    write(*(f"lamp {number}" for number in range(70)))
    told: list[int] = []
    tell = senders.tell

    def tell_and_die(row: Forwarder, batch: Any, **more: Any) -> int:
        refused = tell(row, batch, **more)
        told.append(batch[-1].seq)
        if len(told) == 2:
            assert len(server.kept(40)) == 40
            server.stop(signal.SIGKILL)
        return refused

    monkeypatch.setattr(running, "tell", tell_and_die)
    with rsyslog(papers, tmp_path) as server:
        add(server, papers, confirmation="end")
        row = turn()
        assert (row.next_seq, row.status) == (40, "retrying")
        server.start()
        row = turn()
        assert (row.next_seq, row.status) == (Seal.objects.count(), "connected")
        lines = server.kept(Seal.objects.count())
    assert [seq_of(one) for one in lines] == list(range(Seal.objects.count()))


def test_rsyslog_hears_only_whom_its_certificate_lets_in(papers: Path, tmp_path: Path) -> None:
    write("one", "two")
    with rsyslog(papers, tmp_path, authorize="client.test") as server:
        add(server, papers, confirmation="end")
        # The end of a refused connection, however it races with what is sent, confirms nothing.
        for _ in range(8):
            assert turn().next_seq == 0
        assert not server.kept(0)
        assert "not permitted to talk" in (tmp_path / "said").read_text()
        row = Forwarder.objects.get()
        row.secret = (papers / "client.pem").read_text() + (papers / "client.key").read_text()
        row.save(update_fields=["secret"])
        row = turn()
        assert (row.next_seq, row.status) == (Seal.objects.count(), "connected")
        assert [seq_of(one) for one in server.kept(2)] == list(range(Seal.objects.count()))


def test_an_end_before_anything_was_read_confirms_nothing(papers: Path) -> None:
    """A server that ends the connection right after the handshake, as one that permits the client nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / "server.pem", papers / "server.key")
    listening = socket.create_server(("127.0.0.1", 0))

    def end_each() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listening.accept()
                context.wrap_socket(plain, server_side=True).close()

    threading.Thread(target=end_each, daemon=True).start()
    write("one", "x" * 50_000)
    setup = ForwarderSetup(
        name="siem",
        kind="syslog",
        address=f"tls://127.0.0.1:{listening.getsockname()[1]}",
        allow=("127.0.0.1",),
        trust=(papers / "ca.pem").read_text(),
        confirmation="end",
    )
    add_forwarder(principal=system_principal("test"), setup=setup)
    for _ in range(5):
        assert turn().next_seq == 0
    listening.close()
