"""One-way messages by Apprise, through the guarded client: its plug-ins are given that client for `requests`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests

from core.http import guarded_session
from delivery.channels import Outcome
from delivery.providers import Message

TIMEOUT_SECONDS = 10.0
_allowed: ContextVar[tuple[str, ...]] = ContextVar("allowed", default=())


class RelayRefusedError(ValueError):
    """The address is not one that can be used; the message says why."""


class _GuardedRequests:
    """Stands for the module `requests` within a plug-in: the same names, but every request passes the guard."""

    def __getattr__(self, name: str) -> Any:
        return getattr(requests, name)

    @staticmethod
    def request(method: str, url: str, **options: Any) -> requests.Response:
        """Make a request that the guard allows."""
        options.pop("verify", None)
        options.pop("allow_redirects", None)
        with guarded_session(allow=_allowed.get(), timeout_seconds=TIMEOUT_SECONDS, max_bytes=256 * 1024) as session:
            return session.request(method, url, **options)

    def post(self, url: str, data: Any = None, **options: Any) -> requests.Response:
        return self.request("POST", url, data=data, **options)

    def get(self, url: str, **options: Any) -> requests.Response:
        return self.request("GET", url, **options)

    def put(self, url: str, data: Any = None, **options: Any) -> requests.Response:
        return self.request("PUT", url, data=data, **options)


_GUARDED = _GuardedRequests()


def ensure_relay_is_usable(url: str) -> None:
    """Raise RelayRefusedError for an address that Apprise does not know or that does not go over HTTP."""
    _plugin(url)


def send_relay(message: Message) -> Outcome:
    """Hand a message to the service behind an Apprise address."""
    try:
        plugin = _plugin(message.settings["url"])
    except RelayRefusedError as error:
        return Outcome(accepted=False, error=str(error), permanent=True)
    text = f"{message.text}\n{message.link}".strip()
    with _allowing(message.allow):
        sent = plugin.notify(title=message.subject, body=text)
    return Outcome(accepted=bool(sent), error="" if sent else "the service did not take it")


def _plugin(url: str) -> Any:
    import apprise  # noqa: PLC0415 it loads a hundred plug-ins, which no other process needs

    plugin = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if plugin is None:
        raise RelayRefusedError("Apprise does not know this address")
    module = sys.modules[type(plugin).__module__]
    if not hasattr(module, "requests"):
        raise RelayRefusedError("only services that are reached over HTTP can be used")
    module.requests = _GUARDED  # type: ignore[attr-defined]
    return plugin


@contextmanager
def _allowing(hosts: tuple[str, ...]) -> Iterator[None]:
    token = _allowed.set(hosts)
    try:
        yield
    finally:
        _allowed.reset(token)
