"""The part of sign-in by LDAP that needs `django-auth-ldap`; imported when a directory is asked, never before."""

import logging
from typing import Any

import ldap
from django.dispatch import receiver
from django.http import HttpRequest
from django_auth_ldap import config as kinds
from django_auth_ldap.backend import LDAPBackend, LDAPSettings, _LDAPUser, ldap_error

from accounts.domain.providers import LdapConfiguration
from accounts.models import IdentityProvider, User
from accounts.services import (
    SignInRefusedError,
    Told,
    Tried,
    admit,
    provider_answered,
    provider_configuration,
)

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 5
TROUBLE = "directory_trouble"
GROUP_TYPES: dict[str, Any] = {
    "groupOfNames": kinds.NestedGroupOfNamesType,
    "groupOfUniqueNames": kinds.NestedGroupOfUniqueNamesType,
    "posixGroup": kinds.PosixGroupType,
    "group": kinds.NestedActiveDirectoryGroupType,
}
# Names of an entry that never change: OpenLDAP and others, Active Directory.
LASTING = ("entryuuid", "objectguid")


class ProviderBackend(LDAPBackend):  # type: ignore[misc]  # the library's classes are untyped
    """The library's search and bind for one provider; who comes of it is admitted like from any other provider."""

    def __init__(self, provider: IdentityProvider, configuration: LdapConfiguration) -> None:
        super().__init__()
        self.provider = provider
        self.settings = _settings(provider, configuration)

    def get_or_build_user(self, username: str, ldap_user: Any) -> tuple[User, bool]:
        attributes = ldap_user.attrs

        def first(*names: str) -> str:
            return next((str(attributes[name][0]) for name in names if attributes.get(name)), "")

        mail = first("mail")
        told = Told(
            subject=first(*LASTING) or ldap_user.dn.lower(),
            username=username,
            name=first("displayName") or f"{first('givenName')} {first('sn')}".strip() or first("cn"),
            mail=mail,
            mail_is_confirmed=False,
            groups=tuple(ldap_user.group_names) if self.settings.GROUP_SEARCH else (),
        )
        user, _ = admit(provider=self.provider, told=told)
        return user, False


def ask_directory(provider: IdentityProvider, request: HttpRequest | None, username: str, password: str) -> User | None:
    """Return whom the directory knows with this password, None when it does not, or is silent."""
    configuration = provider_configuration(provider)
    assert isinstance(configuration, LdapConfiguration)  # noqa: S101 the caller asks directories alone
    backend, request = ProviderBackend(provider, configuration), request or HttpRequest()
    try:
        user = backend.authenticate_ldap_user(_LDAPUser(backend, username=username.strip(), request=request), password)
    except SignInRefusedError as error:
        logger.warning("sign-in of %s by %s refused: %s", username, provider.slug, error)
        return None
    trouble = request.__dict__.pop(TROUBLE, None)
    if trouble is not None:
        provider_answered(provider=provider, error=_plainly(trouble))
        request.directory_down = provider.name  # type: ignore[attr-defined]  # read by the sign-in form
    if user is None:
        return None
    provider_answered(provider=provider)
    found = User.objects.get(pk=user.pk)
    found.provider_slug = provider.slug  # type: ignore[attr-defined]  # read by the sign-in form and view
    return found


@receiver(ldap_error)
def note_trouble(request: HttpRequest | None = None, exception: Any = None, **_: Any) -> None:
    """Keep why a directory could not be asked; a wrong password is no trouble."""
    if request is not None and not isinstance(exception, ldap.INVALID_CREDENTIALS):
        setattr(request, TROUBLE, exception)


def try_directory(provider: IdentityProvider) -> Tried:
    """Bind as the searching account and look for people and groups."""
    configuration = provider_configuration(provider)
    assert isinstance(configuration, LdapConfiguration)  # noqa: S101 the caller asks directories alone
    try:
        connection = ldap.initialize(configuration.address)
        for option, value in _options(configuration).items():
            connection.set_option(option, value)
        if configuration.start_tls:
            connection.start_tls_s()
        connection.simple_bind_s(configuration.bind_dn, provider.secret)
        lines = [f"Bound as {configuration.bind_dn or 'nobody in particular'}."]
        for words, where in (("People", configuration.people), ("Groups", configuration.groups)):
            if where:
                connection.search_s(where, ldap.SCOPE_BASE, attrlist=["1.1"])
                lines.append(f"{words} are searched in {where}.")
        connection.unbind_s()
    except ldap.LDAPError as error:
        return Tried(good=False, lines=(_plainly(error),))
    return Tried(good=True, lines=tuple(lines))


def _settings(provider: IdentityProvider, configuration: LdapConfiguration) -> LDAPSettings:
    settings = LDAPSettings("ASSAY_NO_SUCH_PREFIX_")
    settings.SERVER_URI = configuration.address
    settings.BIND_DN, settings.BIND_PASSWORD = configuration.bind_dn, provider.secret
    settings.START_TLS = configuration.start_tls
    settings.CONNECTION_OPTIONS = _options(configuration)
    settings.USER_SEARCH = kinds.LDAPSearch(configuration.people, ldap.SCOPE_SUBTREE, configuration.person_filter)
    settings.USER_ATTRLIST = ["*", *LASTING]
    settings.ALWAYS_UPDATE_USER = False
    if configuration.groups:
        wanted = f"(objectClass={configuration.group_class})"
        settings.GROUP_SEARCH = kinds.LDAPSearch(configuration.groups, ldap.SCOPE_SUBTREE, wanted)
        settings.GROUP_TYPE = GROUP_TYPES[configuration.group_class](name_attr="cn")
    return settings


def _options(configuration: LdapConfiguration) -> dict[int, Any]:
    options: dict[int, Any] = {
        ldap.OPT_NETWORK_TIMEOUT: PATIENCE_SECONDS,
        ldap.OPT_TIMEOUT: PATIENCE_SECONDS,
        ldap.OPT_REFERRALS: 0,
        ldap.OPT_X_TLS_REQUIRE_CERT: ldap.OPT_X_TLS_DEMAND,
    }
    if configuration.ca_file:
        options[ldap.OPT_X_TLS_CACERTFILE] = configuration.ca_file
    # It must come last: it makes the options above hold for this connection.
    options[ldap.OPT_X_TLS_NEWCTX] = 0
    return options


def _plainly(error: Any) -> str:
    told = error.args[0] if getattr(error, "args", None) and isinstance(error.args[0], dict) else {}
    parts = [str(told.get(key)) for key in ("desc", "info") if told.get(key)]
    return f"{type(error).__name__}: {'; '.join(parts) or error}"
