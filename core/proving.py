"""Ask somebody again who they are before something dangerous, also in rooms that know nothing of people.

The room of people says by `decide_with` what "lately enough" means; without it nobody is asked.
"""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied


class SignInAgainError(PermissionDenied):
    """The change is dangerous, and who asks for it showed too long ago who they are."""


_deciders: list[Callable[[Any], None]] = []


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
