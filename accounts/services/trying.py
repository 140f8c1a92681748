"""Try a provider before anybody relies on it: does it answer, does it say what it should?"""

from dataclasses import dataclass
from datetime import UTC, datetime

import requests
from django.utils.module_loading import import_string

from accounts.domain.certificates import read_certificate
from accounts.domain.providers import LdapConfiguration, OidcConfiguration, SamlConfiguration
from accounts.models import IdentityProvider
from accounts.services.provider_metadata import follow_metadata
from accounts.services.providers import provider_answered, provider_configuration
from core.http import guarded_session
from core.parsing import InputRefusedError


@dataclass(frozen=True)
class Tried:
    """What a trial showed, a line each."""

    good: bool
    lines: tuple[str, ...]


def try_provider(*, provider: IdentityProvider) -> Tried:
    """Ask a provider what it can be asked without anybody signing in, and note whether it answered."""
    configuration = provider_configuration(provider)
    if isinstance(configuration, OidcConfiguration):
        tried = _try_oidc(configuration)
    elif isinstance(configuration, SamlConfiguration):
        tried = _try_saml(provider, configuration)
    elif isinstance(configuration, LdapConfiguration):
        tried = import_string("accounts.directory.try_directory")(provider)
    else:
        tried = Tried(
            good=True, lines=("The directory calls this site; make a token with the scope scim.provision for it.",)
        )
    provider_answered(provider=provider, error="" if tried.good else tried.lines[-1])
    return tried


def _try_oidc(configuration: OidcConfiguration) -> Tried:
    allow = ("0.0.0.0/0", "::/0") if configuration.private_network else ()
    try:
        with guarded_session(allow=allow, timeout_seconds=8) as session:
            answer = session.get(f"{configuration.issuer}/.well-known/openid-configuration")
            answer.raise_for_status()
            found = answer.json()
            keys_answer = session.get(found["jwks_uri"])
            keys_answer.raise_for_status()
            keys = keys_answer.json().get("keys", [])
    except requests.exceptions.SSLError as error:
        return Tried(good=False, lines=(f"Its certificate is not one that this site trusts, or has expired: {error}",))
    except (requests.RequestException, ValueError, KeyError) as error:
        return Tried(good=False, lines=(f"The discovery document cannot be read: {error}",))
    if str(found.get("issuer", "")).rstrip("/") != configuration.issuer:
        return Tried(good=False, lines=(f"The discovery document speaks for another issuer: {found.get('issuer')}",))
    return Tried(
        good=bool(keys), lines=(f"Discovery answers for {found['issuer']}.", f"It signs with {len(keys)} keys.")
    )


def _try_saml(provider: IdentityProvider, configuration: SamlConfiguration) -> Tried:
    if configuration.metadata_url:
        try:
            changed = follow_metadata(provider=provider)
        except InputRefusedError as error:
            return Tried(good=False, lines=(f"Its metadata cannot be followed: {error}",))
        if changed:
            provider.refresh_from_db()
            followed = provider_configuration(provider)
            assert isinstance(followed, SamlConfiguration)  # noqa: S101 its kind does not change
            configuration = followed
    try:
        known = [read_certificate(body) for body in configuration.certificates]
    except ValueError as error:
        return Tried(good=False, lines=(f"The certificate cannot be read: {error}",))
    until = max(one.not_after for one in known)
    if until < datetime.now(tz=UTC):
        return Tried(
            good=False,
            lines=(f"The signing certificate has expired on {until:%Y-%m-%d}: upload its present metadata.",),
        )
    lines = [f"The signing certificate holds until {until:%Y-%m-%d}."]
    if configuration.metadata_url:
        lines.append("Its metadata were read and are followed.")
    return Tried(good=True, lines=(*lines, "Sign in by it to see the rest."))
