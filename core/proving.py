"""Ask somebody again who they are before something dangerous, also in rooms that know nothing of people.

The room of people says by `decide_with` what "lately enough" means; without it nobody is asked. What is dangerous is
marked where it is done, by `dangerous`; `dangerous_actions` is the list of all of it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import PermissionDenied

P = ParamSpec("P")
R = TypeVar("R")


class SignInAgainError(PermissionDenied):
    """The change is dangerous, and who asks for it showed too long ago who they are."""


@dataclass(frozen=True)
class DangerousAction:
    """Something that asks again: where it is (`room.module.function`), and what it does."""

    name: str
    what: str
    run: Callable[..., Any]


_deciders: list[Callable[[Any], None]] = []
_dangerous: dict[str, DangerousAction] = {}


def decide_with(decider: Callable[[Any], None]) -> None:
    """Let this function raise SignInAgainError for a principal that has to show again who they are."""
    _deciders[:] = [decider]


def ensure_recent(principal: Any) -> None:
    """Raise SignInAgainError for a person in a browser who has not shown for a while who they are.

    Tokens, commands and the site itself pass: they prove themselves with each call, or are not in a browser.
    """
    if getattr(principal, "authenticated_at", None) is None:
        return
    for decider in _deciders:
        decider(principal)


def dangerous(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a service that has a `principal` as dangerous: it asks again before it does anything."""

    def mark(run: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(run)

        @wraps(run)
        def asked(*args: P.args, **kwargs: P.kwargs) -> R:
            ensure_recent(signature.bind(*args, **kwargs).arguments["principal"])
            return run(*args, **kwargs)

        name = f"{run.__module__}.{run.__qualname__}"
        _dangerous[name] = DangerousAction(name=name, what=what, run=asked)
        return asked

    return mark


def dangerous_actions() -> list[DangerousAction]:
    """Return everything that asks again, of the rooms that are loaded."""
    return [_dangerous[name] for name in sorted(_dangerous)]
