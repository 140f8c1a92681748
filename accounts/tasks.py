"""What recurs in the room of people: providers' metadata are followed."""

from datetime import timedelta

from accounts.services import follow_all_metadata
from core.periodic import periodic


@periodic("accounts.provider-metadata", every=timedelta(hours=6))
def follow_providers() -> None:
    """Read the metadata of SAML providers from their addresses, so that a new certificate is known in time."""
    follow_all_metadata()
