"""Checks written in Python, for what the declarative language cannot say.

A plug-in is a function that gets a ledger entry as a `Fact` and returns why it does not pass; nothing when it does. It
is found by the entry-point group `assay.checks` of an installed package, or registered by `register`. A rule names it
in `python`, beside `expect`; it runs in the worker, and an error in it fails the check's run, never the site.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

GROUP = "assay.checks"


class Entry(Protocol):
    """What a plug-in sees of an entry."""

    @property
    def entry_type(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


Plugin = Callable[[Entry], Sequence[str]]
_registered: dict[str, Plugin] = {}


class UnknownPluginError(LookupError):
    """No installed package brings a check of this name."""


def register(name: str, plugin: Plugin) -> None:
    """Make a check known. Raises ValueError when another has its name."""
    if _registered.get(name, plugin) is not plugin:
        raise ValueError(f"another check is called {name}")
    _registered[name] = plugin


@cache
def _installed() -> dict[str, Any]:
    return {one.name: one for one in entry_points(group=GROUP)}


def known_plugins() -> list[str]:
    """Return the names of the checks that rules may use."""
    return sorted({*_registered, *_installed()})


def failures_of(name: str, entry: Entry) -> list[str]:
    """Return why an entry does not pass a plug-in. Raises UnknownPluginError."""
    if name not in _registered:
        if name not in _installed():
            raise UnknownPluginError(f"no check is called {name}")
        register(name, _installed()[name].load())
    return [str(reason) for reason in _registered[name](entry)]
