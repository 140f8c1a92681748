"""Sign-in against an LDAP directory. Its library is an optional extra, imported only when one is set up."""

import logging
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from django.utils.module_loading import import_string

from accounts.data import ProviderKind
from accounts.models import IdentityProvider, User
from accounts.selectors import active_providers
from accounts.services import Tried, provider_answered

logger = logging.getLogger(__name__)
MISSING = "The extra for directories is not installed: install assay[ldap]."


class DirectoryBackend(ModelBackend):
    """Ask each directory that is set up whether the password is right."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """Return whom a directory knows with this password; `request.directory_down` names one that is silent."""
        if not username or not password:
            return None
        for provider in active_providers(kinds=(ProviderKind.LDAP,)):
            found = _asked(provider, request, username, password)
            if found is not None:
                return found
        return None


def try_directory(provider: IdentityProvider) -> Tried:
    """Bind to a directory and look whether people are where they should be."""
    try:
        tried: Tried = import_string("accounts.ldap_sign_in.try_directory")(provider)
    except ImportError:
        return Tried(good=False, lines=(MISSING,))
    return tried


def _asked(provider: IdentityProvider, request: HttpRequest | None, username: str, password: str) -> User | None:
    try:
        ask = import_string("accounts.ldap_sign_in.ask_directory")
    except ImportError:
        provider_answered(provider=provider, error=MISSING)
        logger.warning(MISSING)
        return None
    found: User | None = ask(provider, request, username, password)
    return found
