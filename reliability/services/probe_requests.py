"""One check over the network: HTTP, TCP or TLS, through the guard of outbound requests, bounded by a deadline."""

import socket
import ssl
import tempfile
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import requests

from core.http import GuardedSession, OutboundPolicy, OutboundRefusedError
from reliability.domain.probes import Outcome, ProbeSpec

MAX_ANSWER_BYTES = 1024 * 1024


def send_probe(spec: ProbeSpec, *, allow_private: bool) -> Outcome:
    """Run one turn and say what came of it. Touches no database, so that many may run side by side."""
    host, port = address_of(spec.kind, spec.target)
    timeout = spec.timeout.total_seconds()
    policy = OutboundPolicy(allow=(host,) if allow_private else (), timeout_seconds=timeout, max_bytes=MAX_ANSWER_BYTES)
    started = time.monotonic()
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        problem = _CHECKS[spec.kind](spec, policy, host, port, started + timeout)
    except socket.gaierror as error:
        problem = f"the name does not resolve: {error.strerror}"
    except OutboundRefusedError as error:
        return Outcome(time.monotonic() - started, str(error), sent=False)
    except TimeoutError:
        problem = "no answer in time"
    except ssl.SSLError as error:
        problem = f"TLS: {error.reason or error}"
    except requests.exceptions.Timeout:
        problem = "no answer in time"
    except requests.exceptions.SSLError as error:
        problem = f"TLS: {_innermost(error)}"
    except (requests.RequestException, OSError) as error:
        problem = str(_innermost(error)) or type(error).__name__
    return Outcome(time.monotonic() - started, problem[:300])


def address_of(kind: str, target: str) -> tuple[str, int]:
    """Return the host and port of a target. Raises ValueError for what is none."""
    parts = urlsplit(target if kind == "http" else f"//{target}")
    if not parts.hostname or parts.username or (kind != "http" and (parts.port is None or parts.path)):
        raise ValueError(target)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _http(spec: ProbeSpec, policy: OutboundPolicy, _host: str, _port: int, deadline: float) -> str:
    with GuardedSession(policy) as session, tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        session.headers["User-Agent"] = "assay-prober"
        if spec.certificates:
            file.write(spec.certificates)
            file.flush()
            session.verify = file.name
        response = session.request(spec.method, spec.target, stream=True)
        body = bytearray()
        # A timeout of the library is for each read: an answer that drips would outlast the turn.
        for chunk in response.iter_content(16 * 1024):
            body += chunk
            if time.monotonic() > deadline:
                return "no whole answer in time"
            if len(body) > MAX_ANSWER_BYTES:
                break
        response.close()
    if not spec.lowest_status <= response.status_code <= spec.highest_status:
        return f"HTTP status {response.status_code}"
    if spec.contains and spec.contains.encode() not in body:
        return "the answer does not contain the text"
    return ""


def _tcp(spec: ProbeSpec, policy: OutboundPolicy, host: str, port: int, _deadline: float) -> str:
    with socket.create_connection((policy.address_for(host, port), port), timeout=spec.timeout.total_seconds()):
        return ""


def _tls(spec: ProbeSpec, policy: OutboundPolicy, host: str, port: int, deadline: float) -> str:
    context = ssl.create_default_context(cadata=spec.certificates or None)
    with socket.create_connection((policy.address_for(host, port), port), timeout=spec.timeout.total_seconds()) as raw:
        raw.settimeout(max(deadline - time.monotonic(), 0.001))
        with context.wrap_socket(raw, server_hostname=host) as wrapped:
            certificate = wrapped.getpeercert() or {}
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    if ends - datetime.now(UTC) < spec.valid_for:
        return f"the certificate ends on {ends:%Y-%m-%d}"
    return ""


_CHECKS = {"http": _http, "tcp": _tcp, "tls": _tls}


def _innermost(error: BaseException) -> BaseException:
    """Return what went wrong under the wrappings of requests and urllib3."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return reason if isinstance(reason, BaseException) else error
