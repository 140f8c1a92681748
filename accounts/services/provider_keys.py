"""Keys of this site towards providers: made, announced, switched to, dropped.

A change of keys takes three steps, so that a provider that reads the metadata between them is never without the right
one: the next key is announced beside the current one, then used, then the old one is dropped.
"""

from django.conf import settings
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.domain.certificates import make_certificate
from accounts.models import IdentityProvider, ProviderKey
from accounts.services.rights import ensure_may
from core.clock import database_now
from core.parsing import refuse
from core.proving import dangerous
from ledger.data.access import ProviderChanged
from ledger.services import record

State = ProviderKey.State


def ensure_key(*, provider: IdentityProvider) -> None:
    """Make the first key of this site for a provider, if it has none."""
    if not ProviderKey.objects.filter(provider=provider, state=State.CURRENT).exists():
        _make(provider, State.CURRENT)


@dangerous("announce this site's next key")
@transaction.atomic
def prepare_next_key(*, principal: Principal, provider: IdentityProvider) -> ProviderKey:
    """Make the key that follows and announce it in the metadata. Raises InputRefusedError when there is one."""
    _ensure(principal)
    if ProviderKey.objects.filter(provider=provider, state=State.NEXT).exists():
        raise refuse("key", found="another one", allowed="the next key is announced already: use it first")
    key = _make(provider, State.NEXT)
    _record(principal, provider, "next key announced", key)
    return key


@dangerous("use this site's next key")
@transaction.atomic
def use_next_key(*, principal: Principal, provider: IdentityProvider) -> ProviderKey:
    """Sign with the announced key from now on; the one before still opens what was encrypted for it."""
    _ensure(principal)
    following = ProviderKey.objects.select_for_update().filter(provider=provider, state=State.NEXT).first()
    if following is None:
        raise refuse("key", found="none", allowed="announce the next key first, and let the provider read the metadata")
    ProviderKey.objects.filter(provider=provider, state=State.OLD).delete()
    ProviderKey.objects.filter(provider=provider, state=State.CURRENT).update(state=State.OLD)
    following.state = State.CURRENT
    following.save(update_fields=["state"])
    _record(principal, provider, "next key used", following)
    return following


@dangerous("drop this site's old key")
@transaction.atomic
def drop_old_key(*, principal: Principal, provider: IdentityProvider) -> bool:
    """Forget the key that was used before; says whether there was one."""
    _ensure(principal)
    old = ProviderKey.objects.filter(provider=provider, state=State.OLD).first()
    if old is None:
        return False
    _record(principal, provider, "old key dropped", old)
    old.delete()
    return True


def _ensure(principal: Principal) -> None:
    ensure_may(principal, Capability.SITE_ADMIN)


def _make(provider: IdentityProvider, state: ProviderKey.State) -> ProviderKey:
    now = database_now()
    private_key, certificate = make_certificate(name=settings.LEDGER_ORIGIN, now=now)
    return ProviderKey.objects.create(
        provider=provider, state=state, private_key=private_key, certificate=certificate.body, made_at=now
    )


def _record(principal: Principal, provider: IdentityProvider, change: str, key: ProviderKey) -> None:
    entry = ProviderChanged(
        provider=provider.slug, kind=provider.kind, change=change, after={"made_at": key.made_at.isoformat()}
    )
    record(entry, actor=principal.reference, subject=f"provider:{provider.slug}")
