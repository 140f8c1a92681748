"""The three ways to tell a batch of entries. Each returns how many the receiver refused, once it has them all.

A sender raises when it cannot know that the receiver has the whole batch; the batch is then told again.
"""

import fcntl
import ipaddress
import socket
import ssl
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import requests
from django.utils import timezone

from core.http import GuardedSession, OutboundPolicy, OutboundRefusedError, guarded_session
from delivery.data import signature_header
from ledger.domain.entries import instant_text
from ledger.domain.syslog import framed, syslog_message
from ledger.models import Forwarder
from ledger.services.forwarding.documents import Told, bounds

TIMEOUT_SECONDS = 10.0
DEFAULT_TLS_PORT = 6514
LONGEST_ANSWER = 64 * 1024
ACKNOWLEDGED_WITHIN_SECONDS = 5.0
TCP_CLOSED = 7


class NotConfirmedError(RuntimeError):
    """The receiver may or may not have the batch."""


def tell(row: Forwarder, batch: Sequence[Told], *, origin: str) -> int:
    """Tell a batch; returns how many entries the receiver refused for good."""
    if row.kind == Forwarder.Kind.SYSLOG:
        return _syslog(row, batch, origin)
    if row.kind == Forwarder.Kind.OTLP:
        return _otlp(row, batch, origin)
    return _webhook(row, batch, origin)


# Syslog. The protocol has no answer, and bytes that a socket took may never be read. So each batch has a connection of
# its own, which is closed from this side; the receiver's own close_notify comes only after it has read everything
# before ours.


def _syslog(row: Forwarder, batch: Sequence[Told], origin: str) -> int:
    data = framed(
        syslog_message(
            timestamp=instant_text(told.entry.recorded_at) or "-",
            hostname=origin,
            message_id=told.entry.entry_type,
            values={
                "seq": str(told.seq),
                "type": told.entry.entry_type,
                "actor": told.entry.actor,
                "subject": told.entry.subject,
                "leaf": told.document["leaf_hash"],
            },
            text=told.body,
        )
        for told in batch
    )
    parts = urlsplit(row.address)
    host, port = parts.hostname or "", parts.port or DEFAULT_TLS_PORT
    address = OutboundPolicy(allow=tuple(row.allow)).address_for(host, port)
    if parts.scheme != "tls" and not ipaddress.ip_address(address.split("%")[0]).is_loopback:
        raise OutboundRefusedError(f"{host} is not this machine: without TLS, only the loopback interface is told")
    with socket.create_connection((address, port), timeout=TIMEOUT_SECONDS) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "tls":
            _over_tls(row, plain, host, data)
        else:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            _read_to_the_end(plain)
    return 0


def _over_tls(row: Forwarder, plain: socket.socket, host: str, data: bytes) -> None:
    with _context(row) as context, context.wrap_socket(plain, server_hostname=host) as secured:
        secured.sendall(data)
        try:
            secured.unwrap()
        except ssl.SSLEOFError:
            ended = True
        except OSError as error:
            if error.errno != 0:
                raise
            ended = True
        else:
            ended = False
        if ended and row.confirmation != Forwarder.Confirmation.END:
            raise NotConfirmedError(
                "the receiver closed without close_notify, so it may not have read everything; if it never sends one "
                "(rsyslog does not), take the end of the connection as confirmation"
            )
        if ended and not _acknowledged(secured):
            raise NotConfirmedError("the receiver cut the connection before it had everything")


def _acknowledged(ended: socket.socket) -> bool:
    """Say whether the other side's TCP took every byte before it ended the connection; where none can tell, yes.

    Who is refused after the handshake (a client certificate that is not permitted) sees the same end as who was read:
    but then nobody acknowledges what was sent, or the connection is reset.
    """
    if not sys.platform.startswith("linux"):
        return True
    deadline = time.monotonic() + ACKNOWLEDGED_WITHIN_SECONDS
    while True:
        if ended.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSED:
            return False
        if not struct.unpack("i", fcntl.ioctl(ended.fileno(), termios.TIOCOUTQ, bytes(4)))[0]:
            return ended.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_CLOSED
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)


def _read_to_the_end(plain: socket.socket) -> None:
    while plain.recv(4096):
        pass


@contextmanager
def _context(row: Forwarder) -> Iterator[ssl.SSLContext]:
    context = ssl.create_default_context(cadata=row.trust or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if row.secret:
        # OpenSSL reads a client's certificate and key from a file only.
        with tempfile.TemporaryDirectory(prefix="assay-tls-") as folder:
            path = Path(folder) / "client.pem"
            path.touch(mode=0o600)
            path.write_text(row.secret)
            context.load_cert_chain(path)
    yield context


# HTTP: the answer is the confirmation.


@contextmanager
def _session(row: Forwarder) -> Iterator[GuardedSession]:
    session = guarded_session(allow=row.allow, timeout_seconds=TIMEOUT_SECONDS, max_bytes=LONGEST_ANSWER)
    if not row.trust:
        yield session
        return
    with tempfile.TemporaryDirectory(prefix="assay-tls-") as folder:
        path = Path(folder) / "trust.pem"
        path.write_text(row.trust)
        session.verify = str(path)
        yield session


def _ensure_accepted(answer: requests.Response) -> None:
    if not 200 <= answer.status_code < 300:
        raise NotConfirmedError(f"the receiver answered {answer.status_code}: {answer.text[:200]}")


def _otlp(row: Forwarder, batch: Sequence[Told], origin: str) -> int:
    # Loaded where logs are told so only: a process starts without these modules.
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service  # noqa: PLC0415
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue  # noqa: PLC0415
    from opentelemetry.proto.logs.v1 import logs_pb2 as logs  # noqa: PLC0415
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource  # noqa: PLC0415

    def text(name: str, value: str) -> KeyValue:
        return KeyValue(key=name, value=AnyValue(string_value=value))

    records = [
        logs.LogRecord(
            time_unix_nano=int(told.entry.occurred_at.timestamp() * 1_000_000) * 1000,
            observed_time_unix_nano=int(told.entry.recorded_at.timestamp() * 1_000_000) * 1000,
            severity_number=logs.SEVERITY_NUMBER_INFO,
            severity_text="INFO",
            body=AnyValue(string_value=told.body.decode()),
            attributes=[
                KeyValue(key="assay.ledger.seq", value=AnyValue(int_value=told.seq)),
                text("assay.ledger.type", told.entry.entry_type),
                text("assay.ledger.actor", told.entry.actor),
                text("assay.ledger.subject", told.entry.subject),
                text("assay.ledger.leaf_hash", told.document["leaf_hash"]),
            ],
        )
        for told in batch
    ]
    request = service.ExportLogsServiceRequest(
        resource_logs=[
            logs.ResourceLogs(
                resource=Resource(attributes=[text("service.name", "assay"), text("service.instance.id", origin)]),
                scope_logs=[logs.ScopeLogs(scope=InstrumentationScope(name="assay.ledger"), log_records=records)],
            )
        ]
    )
    headers = {"Content-Type": "application/x-protobuf", **(orjson.loads(row.secret) if row.secret else {})}
    with _session(row) as session:
        answer = session.post(row.address, data=request.SerializeToString(), headers=headers)
    _ensure_accepted(answer)
    said = service.ExportLogsServiceResponse()
    if answer.headers.get("Content-Type", "").startswith("application/x-protobuf"):
        said.ParseFromString(answer.content)
    return int(said.partial_success.rejected_log_records)


def _webhook(row: Forwarder, batch: Sequence[Told], origin: str) -> int:
    now = timezone.now()
    body = orjson.dumps(
        {
            "type": "ledger.entries",
            "timestamp": instant_text(now),
            "data": {
                "log": origin,
                "first_seq": batch[0].seq,
                "last_seq": batch[-1].seq,
                "entries": [told.document for told in batch],
            },
        }
    )
    identity, stamp = f"ledger-{bounds(batch)}", int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature_header([row.secret], message_id=identity, timestamp=stamp, body=body),
    }
    with _session(row) as session:
        _ensure_accepted(session.post(row.address, data=body, headers=headers))
    return 0
