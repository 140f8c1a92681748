"""What a SAML provider says of itself: uploaded, or read from an address and followed from then on."""

import logging
from collections.abc import Mapping
from typing import Any

import requests
from django.utils.module_loading import import_string

from accounts.data import Principal, ProviderKind, system_principal
from accounts.models import IdentityProvider
from accounts.services.providers import provider_answered, save_provider
from core.clock import database_now
from core.http import guarded_session
from core.parsing import InputRefusedError, refuse
from core.uploads import scanner_objects

logger = logging.getLogger(__name__)
LARGEST = 1_000_000
TOLD = ("entity_id", "sso_url", "certificate")


def configuration_with_metadata(
    *, kind: ProviderKind, configuration: Mapping[str, Any], metadata: bytes = b"", read_address: bool = False
) -> dict[str, Any]:
    """Return a configuration completed with what the provider's metadata say. Raises InputRefusedError.

    `metadata` is an uploaded file. Without it, `metadata_url` is read when something is missing, or on `read_address`.
    """
    given = dict(configuration)
    address = str(given.get("metadata_url") or "")
    if kind is not ProviderKind.SAML:
        return given
    if not metadata and address and (read_address or not all(given.get(name) for name in TOLD)):
        metadata = _fetched(address, private=bool(given.get("private_network")))
    elif metadata and (why := scanner_objects(metadata)):
        raise refuse("metadata", found="a file", allowed=why)
    if not metadata:
        return given
    if len(metadata) > LARGEST:
        raise refuse("metadata", found=f"{len(metadata)} bytes", allowed=f"at most {LARGEST} bytes are allowed")
    read = import_string("accounts.saml_metadata.read_metadata")
    return {**given, **read(metadata, entity_id=str(given.get("entity_id") or ""), now=database_now())}


def follow_metadata(*, provider: IdentityProvider, principal: Principal | None = None) -> bool:
    """Read a provider's metadata from their address again; says whether anything changed.

    What cannot be read changes nothing: people go on signing in with what is written down. Raises InputRefusedError.
    """
    before = dict(provider.configuration)
    after = configuration_with_metadata(kind=ProviderKind(provider.kind), configuration=before, read_address=True)
    changed = after != before
    if changed:
        save_provider(
            principal=principal or system_principal("provider-metadata"),
            slug=provider.slug,
            name=provider.name,
            kind=ProviderKind(provider.kind),
            configuration=after,
            paused=provider.state == IdentityProvider.State.PAUSED,
        )
    return changed


def follow_all_metadata() -> None:
    """Read the metadata of every provider that has an address for them; what fails stands at its page."""
    for provider in IdentityProvider.objects.filter(kind=ProviderKind.SAML.value):
        if not provider.configuration.get("metadata_url"):
            continue
        try:
            follow_metadata(provider=provider)
        except InputRefusedError as error:
            logger.warning("the metadata of %s were not followed: %s", provider.slug, error)
            provider_answered(provider=provider, error=f"Its metadata were not followed: {error}")


def _fetched(address: str, *, private: bool) -> bytes:
    try:
        with guarded_session(allow=("0.0.0.0/0", "::/0") if private else (), timeout_seconds=8) as session:
            answer = session.get(address)
            answer.raise_for_status()
            return bytes(answer.content)
    except requests.exceptions.SSLError:
        raise refuse(
            "metadata_url", found=address, allowed="its certificate is not trusted here, or has expired"
        ) from None
    except requests.RequestException as error:
        raise refuse("metadata_url", found=address, allowed=f"it does not answer: {error}"[:300]) from None
