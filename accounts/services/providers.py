"""Providers of identities: written down by an administrator, tried, paused, removed."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import transaction
from pydantic import ValidationError as ShapeError

from accounts.data import Capability, Principal, ProviderKind, Role
from accounts.domain.certificates import certificate_bodies, read_certificate
from accounts.domain.providers import Configuration, SamlConfiguration, configuration_of
from accounts.models import GroupMapping, IdentityProvider, ProvidedIdentity, SignInPolicy, Team
from accounts.selectors import sign_in_policy, team_by_slug
from accounts.services.federation import follow_groups, withdraw
from accounts.services.provider_keys import ensure_key
from accounts.services.rights import ensure_may
from core.clock import database_now
from core.parsing import InputRefusedError, Problem, refuse
from core.proving import dangerous
from ledger.data.access import ProviderChanged
from ledger.services import record


def provider_configuration(provider: IdentityProvider) -> Configuration:
    """Return what is written down about a provider."""
    return configuration_of(ProviderKind(provider.kind), provider.configuration)


@dangerous("change a provider of identities")
@transaction.atomic
def save_provider(
    *,
    principal: Principal,
    slug: str,
    name: str,
    kind: ProviderKind,
    configuration: Mapping[str, Any],
    secret: str | None = None,
    mappings: Iterable[tuple[str, str, str]] | None = None,
    paused: bool = False,
) -> IdentityProvider:
    """Write down a provider, or change the one that has this slug. None leaves its secret or its mappings as they are.

    A mapping is (group, role or "", slug of a team or ""). New mappings hold at once for everybody whose groups are
    known. Raises InputRefusedError; a refused provider changes nothing.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    try:
        validate_slug(slug)
        parsed = configuration_of(kind, dict(configuration))
    except ValidationError:
        raise refuse("slug", found=slug, allowed="letters, digits and hyphens are allowed") from None
    except ShapeError as error:
        problems = [
            Problem(
                where=".".join(str(part) for part in one["loc"]) or "configuration",
                found=str(one["input"])[:80],
                allowed=str(one["msg"]).removeprefix("Value error, "),
            )
            for one in error.errors()
        ]
        raise InputRefusedError(problems) from None
    provider = IdentityProvider.objects.filter(slug=slug).first()
    if provider is not None and provider.kind != kind.value:
        raise refuse("kind", found=kind.value, allowed=f"{slug} is of the kind {provider.kind}; remove it first")
    if isinstance(parsed, SamlConfiguration):
        _ensure_holds(parsed, before=provider.configuration if provider else {})
    change = "changed" if provider else "added"
    before = _written(provider) if provider else {}
    provider = provider or IdentityProvider(slug=slug, kind=kind.value)
    provider.name, provider.configuration = name, parsed.model_dump(mode="json")
    provider.state = IdentityProvider.State.PAUSED if paused else IdentityProvider.State.ACTIVE
    if secret is not None:
        provider.secret = secret
    provider.full_clean(exclude=["configuration"])
    provider.save()
    if kind is ProviderKind.SAML:
        ensure_key(provider=provider)
    if mappings is not None:
        _set_mappings(provider, mappings)
    after = _written(provider)
    if secret is not None:
        after["secret"] = "set anew" if secret else "none"
    if before != after:
        _record(principal, provider, change, before, after)
    if mappings is not None:
        for identity in ProvidedIdentity.objects.filter(provider=provider).select_related("user", "provider"):
            follow_groups(identity=identity)
    return provider


@dangerous("remove a provider of identities")
@transaction.atomic
def remove_provider(*, principal: Principal, provider: IdentityProvider) -> None:
    """Remove a provider with every right that came from it. Raises LastAdminError, and InputRefusedError."""
    ensure_may(principal, Capability.SITE_ADMIN)
    others = IdentityProvider.objects.exclude(pk=provider.pk).exclude(kind=ProviderKind.SCIM.value)
    only_emergencies = sign_in_policy().local_sign_in == SignInPolicy.LocalSignIn.BREAK_GLASS
    if only_emergencies and not others.exists():
        raise refuse("provider", found=provider.slug, allowed="let people sign in with local passwords again first")
    withdraw(provider=provider)
    _record(principal, provider, "removed", _written(provider), {})
    provider.delete()


@dangerous("pause or resume a provider of identities")
@transaction.atomic
def set_provider_state(*, principal: Principal, provider: IdentityProvider, paused: bool) -> None:
    """Pause a provider, so that nobody signs in by it, or let it go on."""
    ensure_may(principal, Capability.SITE_ADMIN)
    state = IdentityProvider.State.PAUSED if paused else IdentityProvider.State.ACTIVE
    if IdentityProvider.objects.filter(pk=provider.pk).exclude(state=state).update(state=state):
        _record(principal, provider, "paused" if paused else "resumed", {}, {})


def provider_answered(*, provider: IdentityProvider, error: str = "") -> None:
    """Note when a provider answered last, or why it did not."""
    now = database_now()
    if error:
        IdentityProvider.objects.filter(pk=provider.pk).update(last_error=error[:500], last_error_at=now)
    else:
        IdentityProvider.objects.filter(pk=provider.pk).update(last_success_at=now, last_error="", last_error_at=None)


def _ensure_holds(configuration: SamlConfiguration, *, before: Mapping[str, Any]) -> None:
    """Refuse a new certificate that has expired, and metadata that anybody on the way could change."""
    if configuration.metadata_url.startswith("http:") and not configuration.private_network:
        raise refuse("metadata_url", found=configuration.metadata_url, allowed="an https address is needed")
    if configuration.certificate == before.get("certificate"):
        return
    known, now = [read_certificate(body) for body in configuration.certificates], database_now()
    if not any(now < one.not_after for one in known):
        last = max(known, key=lambda one: one.not_after)
        raise refuse(
            "certificate",
            found=str(last)[:80],
            allowed=f"it has expired on {last.not_after:%Y-%m-%d}: the provider's present one is needed",
        )


def _set_mappings(provider: IdentityProvider, mappings: Iterable[tuple[str, str, str]]) -> None:
    rows: list[GroupMapping] = []
    known = {role.value for role in Role}
    for number, (group, role, team_slug) in enumerate(dict.fromkeys(mappings), 1):
        where = f"mapping {number}"
        if not group.strip():
            raise refuse(where, found="no group", allowed="the provider's name of a group is needed")
        if role and role not in known:
            raise refuse(where, found=role, allowed=f"{', '.join(sorted(known))} are allowed")
        team: Team | None = team_by_slug(slug=team_slug) if team_slug else None
        if team_slug and team is None:
            raise refuse(where, found=team_slug, allowed="the slug of a team is allowed")
        if not role and team is None:
            raise refuse(where, found=group, allowed="a role, a team, or both are needed")
        rows.append(GroupMapping(provider=provider, group=group.strip()[:255], role=role, team=team))
    GroupMapping.objects.filter(provider=provider).delete()
    GroupMapping.objects.bulk_create(rows)


def _written(provider: IdentityProvider) -> dict[str, str]:
    told = {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in provider.configuration.items()
        if key != "certificate"
    }
    if bodies := provider.configuration.get("certificate"):
        told["certificates"] = ", ".join(str(read_certificate(body)) for body in certificate_bodies(bodies))[:500]
    mappings = GroupMapping.objects.filter(provider=provider).select_related("team")
    told["mappings"] = "; ".join(
        f"{one.group}: {one.role or 'member'} ({one.team.slug if one.team else 'site'})" for one in mappings
    )
    return {**told, "name": provider.name, "state": str(provider.state)}


def _record(
    principal: Principal, provider: IdentityProvider, change: str, before: dict[str, str], after: dict[str, str]
) -> None:
    entry = ProviderChanged(provider=provider.slug, kind=provider.kind, change=change, before=before, after=after)
    record(entry, actor=principal.reference, subject=f"provider:{provider.slug}")
