"""The one way out for HTTP: resolved once, pinned to that address, bounded, never redirected.

A name is resolved once and the connection goes to the address that was checked, so an answer of the resolver that
changes in between (DNS rebinding) cannot reach a private host. Private, loopback, link-local and metadata ranges are
refused unless the site's or the caller's allow-list names them.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.poolmanager import PoolManager

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_TIMEOUT_SECONDS = 10.0
DEFAULT_MAX_BYTES = 10 * 1024 * 1024
SHARED_ADDRESS_SPACE = ipaddress.ip_network("100.64.0.0/10")


class OutboundRefusedError(requests.exceptions.RequestException):
    """The address is not one that this site may reach, or the answer broke a bound."""


@dataclass(frozen=True)
class OutboundPolicy:
    """What a caller may reach. `allow` holds host names or networks (CIDR) that are fine although they are private."""

    allow: tuple[str, ...] = ()
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    max_bytes: int = DEFAULT_MAX_BYTES
    networks: tuple[IPNetwork, ...] = field(init=False, default=())
    hosts: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        networks: list[IPNetwork] = []
        hosts: set[str] = set()
        for entry in (*self.allow, *settings.OUTBOUND_ALLOW):
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                hosts.add(entry.lower().rstrip("."))
        object.__setattr__(self, "networks", tuple(networks))
        object.__setattr__(self, "hosts", frozenset(hosts))

    def address_for(self, host: str, port: int) -> str:
        """Resolve `host` and return the first allowed address. Raises OutboundRefusedError."""
        name = host.strip("[]").lower().rstrip(".")
        try:
            answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise OutboundRefusedError(f"{host} does not resolve: {error}") from None
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        for text in addresses:
            if self.allows(name, ipaddress.ip_address(text.split("%")[0])):
                return text
        raise OutboundRefusedError(
            f"{host} resolves to {', '.join(addresses)}, which is not public; to reach it on purpose, "
            "allow it where this source is set up or in ASSAY_OUTBOUND_ALLOW."
        )

    def allows(self, name: str, address: IPAddress) -> bool:
        """Say whether an address may be reached under this name."""
        address = getattr(address, "ipv4_mapped", None) or address
        if name in self.hosts or any(
            address in network for network in self.networks if network.version == address.version
        ):
            return True
        shared = address.version == 4 and address in SHARED_ADDRESS_SPACE
        return address.is_global and not address.is_multicast and not shared


class GuardedSession(requests.Session):
    """A requests session whose every request passes the guard; timeouts and size caps are always set."""

    def __init__(self, policy: OutboundPolicy) -> None:
        super().__init__()
        self.policy = policy
        self.trust_env = False
        self.mount_guard()

    def mount_guard(self) -> None:
        """Mount the guarded adapters (again, after a library has mounted its own on this session)."""
        self.adapters.clear()
        self.mount("https://", _GuardedAdapter(self.policy))
        self.mount("http://", _GuardedAdapter(self.policy))

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["allow_redirects"] = False
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.policy.timeout_seconds
        wants_stream = kwargs.pop("stream", False)
        kwargs["stream"] = True
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.exceptions.ConnectionError as error:
            raise _refusal_within(error) or error from None
        if not wants_stream:
            _read_bounded(response, self.policy.max_bytes)
        return response


def guarded_session(
    *,
    allow: Iterable[str] = (),
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> GuardedSession:
    """Return a session for one purpose; `allow` names private hosts or networks its set-up has asked for."""
    return GuardedSession(OutboundPolicy(allow=tuple(allow), timeout_seconds=timeout_seconds, max_bytes=max_bytes))


def _refusal_within(error: BaseException | None) -> OutboundRefusedError | None:
    """Return the guard's own refusal from under the errors that urllib3 and requests wrap it in."""
    while error is not None:
        if isinstance(error, OutboundRefusedError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _read_bounded(response: requests.Response, max_bytes: int) -> None:
    body = bytearray()
    for chunk in response.iter_content(64 * 1024):
        body += chunk
        if len(body) > max_bytes:
            response.close()
            raise OutboundRefusedError(f"the answer is larger than {max_bytes} bytes")
    response._content = bytes(body)  # noqa: SLF001 how requests itself keeps a body that was read
    response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = _GuardedPoolManager(
            self._policy, num_pools=connections, maxsize=maxsize, block=block, **kwargs
        )

    def proxy_manager_for(self, proxy: str, **_: Any) -> Any:
        raise OutboundRefusedError(f"requests through a proxy ({proxy}) would go round the guard")


class _GuardedPoolManager(PoolManager):
    def __init__(self, policy: OutboundPolicy, **kwargs: Any) -> None:
        super().__init__(**kwargs)

        class GuardedHTTPConnection(_Pinned, HTTPConnection):
            outbound = policy

        class GuardedHTTPSConnection(_Pinned, HTTPSConnection):
            outbound = policy

        class GuardedHTTPPool(HTTPConnectionPool):
            ConnectionCls = GuardedHTTPConnection

        class GuardedHTTPSPool(HTTPSConnectionPool):
            ConnectionCls = GuardedHTTPSConnection

        self.pool_classes_by_scheme = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}


class _Pinned:
    outbound: OutboundPolicy
    host: str
    port: int
    timeout: Any

    def _new_conn(self) -> socket.socket:
        address = self.outbound.address_for(self.host, self.port)
        timeout = self.timeout if isinstance(self.timeout, int | float) else self.outbound.timeout_seconds
        connection = socket.create_connection((address, self.port), timeout=timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
