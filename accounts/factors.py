"""Record what happens to second factors; the library that keeps them announces it by signals alone."""

from typing import Any

from allauth.mfa import signals
from django.dispatch import receiver

from accounts.models import User
from accounts.services import factor_changed


@receiver(signals.authenticator_added)
def note_added(user: User, authenticator: Any, **_: Any) -> None:
    """Record a new factor."""
    factor_changed(user=user, change="added", kind=str(authenticator.type))


@receiver(signals.authenticator_removed)
def note_removed(user: User, authenticator: Any, **_: Any) -> None:
    """Record a factor that is gone."""
    factor_changed(user=user, change="removed", kind=str(authenticator.type))


@receiver(signals.authenticator_reset)
def note_made_anew(user: User, authenticator: Any, **_: Any) -> None:
    """Record recovery codes that replace others."""
    factor_changed(user=user, change="made anew", kind=str(authenticator.type))
