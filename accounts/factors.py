"""Record what happens to second factors; the library that keeps them announces it by signals alone."""

from typing import Any

from allauth.mfa import signals
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.models import User
from accounts.services import factor_changed, note_factor_gone
from core.fields import SecretUnreadableError, is_sealed_under_current_key, seal, unseal
from core.rekeying import FieldKeys, register_sealed

# Where the library keeps what must stay secret, by kind of factor.
SECRETS = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}


@receiver(signals.authenticator_added)
def note_added(user: User, authenticator: Any, **_: Any) -> None:
    """Record a new factor."""
    factor_changed(user=user, change="added", kind=str(authenticator.type))


@receiver(signals.authenticator_removed)
def note_removed(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    """Record a factor that is gone; who has to have one sets another up before anything else."""
    factor_changed(user=user, change="removed", kind=str(authenticator.type))
    note_factor_gone(request.session, user=user)


@receiver(signals.authenticator_reset)
def note_made_anew(user: User, authenticator: Any, **_: Any) -> None:
    """Record recovery codes that replace others."""
    factor_changed(user=user, change="made anew", kind=str(authenticator.type))


@register_sealed
def renew_secrets(rewrite: bool) -> FieldKeys:
    """Count under which keys the secrets of factors are sealed, and seal them under the one in use."""
    found = FieldKeys("mfa.Authenticator.data")
    for key in Authenticator.objects.filter(type__in=SECRETS).order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            factor = Authenticator.objects.select_for_update().get(pk=key)
            name = SECRETS[factor.type]
            sealed = str(factor.data.get(name, ""))
            if is_sealed_under_current_key(sealed):
                found.current += 1
                continue
            try:
                secret = unseal(sealed)
            except SecretUnreadableError:
                found.unreadable += 1
                continue
            found.older += 1
            if rewrite:
                factor.data[name] = seal(secret)
                factor.save(update_fields=["data"])
                found.rewritten += 1
    return found
