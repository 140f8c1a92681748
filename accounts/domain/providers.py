"""What an administrator writes down about a provider of identities, by kind."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from accounts.domain.certificates import certificate_bodies, read_certificate


class ProviderKind(StrEnum):
    """How a provider tells who somebody is."""

    OIDC = "oidc"
    SAML = "saml"
    LDAP = "ldap"
    SCIM = "scim"


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError("an address like https://login.example.org is needed")
    return value.rstrip("/")


def _directory_address(value: str) -> str:
    if urlsplit(value).scheme not in {"ldap", "ldaps", "ldapi"}:
        raise ValueError("an address like ldaps://directory.example.org is needed")
    return value


def _certificates(value: str) -> str:
    bodies = certificate_bodies(value)
    try:
        for body in bodies:
            read_certificate(body)
    except ValueError:
        bodies = ()
    if not bodies:
        raise ValueError("the certificate in PEM is needed, as the provider's metadata has it")
    return "\n".join(bodies)


def _address_or_none(value: str) -> str:
    return _web_address(value) if value else ""


def _subtree(value: str) -> str:
    if "=" not in value:
        raise ValueError("a distinguished name like ou=people,dc=example,dc=org is needed")
    return value


LONGEST_CLOCK_TOLERANCE = 300

WebAddress = Annotated[str, Field(max_length=500), AfterValidator(_web_address)]
MaybeAddress = Annotated[str, Field(max_length=500), AfterValidator(_address_or_none)]
Subtree = Annotated[str, Field(max_length=500), AfterValidator(_subtree)]


class _Configuration(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Newcomers(_Configuration):
    creates_people: bool = True
    """A person who signs in for the first time gets an account."""
    links_by_mail: bool = False
    """Who has the same mail address here, confirmed by the provider, is the same person."""


class OidcConfiguration(_Newcomers):
    """OpenID Connect, by discovery."""

    issuer: WebAddress
    client_id: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: Annotated[str, Field(min_length=1, max_length=100)] = "groups"
    asks_second_factor: bool = False
    private_network: bool = False


class SamlConfiguration(_Newcomers):
    """SAML 2.0 with signed assertions, begun here."""

    entity_id: Annotated[str, Field(min_length=1, max_length=500)]
    sso_url: WebAddress
    certificate: Annotated[str, Field(max_length=40_000), AfterValidator(_certificates)]
    """What it signs with: one, or several while it changes them; each on a line of its own."""
    slo_url: MaybeAddress = ""
    slo_by_post: bool = False
    """Messages to sign out go to `slo_url` by HTTP-POST rather than by HTTP-Redirect; both are taken."""
    metadata_url: MaybeAddress = ""
    groups_attribute: Annotated[str, Field(min_length=1, max_length=200)] = "groups"
    mail_attribute: Annotated[str, Field(min_length=1, max_length=200)] = "mail"
    name_attribute: Annotated[str, Field(min_length=1, max_length=200)] = "displayName"
    clock_tolerance_seconds: Annotated[int, Field(ge=0, le=LONGEST_CLOCK_TOLERANCE)] = 120
    must_encrypt: bool = False
    signs_requests: bool = False
    asks_second_factor: bool = False
    private_network: bool = False

    @property
    def certificates(self) -> tuple[str, ...]:
        """The certificates that it signs with."""
        return certificate_bodies(self.certificate)


class LdapConfiguration(_Configuration):
    """An LDAP directory or Active Directory."""

    address: Annotated[str, Field(max_length=500), AfterValidator(_directory_address)]
    bind_dn: Annotated[str, Field(max_length=500)] = ""
    people: Subtree
    person_filter: Annotated[str, Field(max_length=500)] = "(uid=%(user)s)"
    groups: Annotated[str, Field(max_length=500)] = ""
    group_class: Annotated[str, Field(pattern="^(groupOfNames|groupOfUniqueNames|posixGroup|group)$")] = "groupOfNames"
    start_tls: bool = False
    ca_file: Annotated[str, Field(max_length=500)] = ""
    creates_people: bool = True


class ScimConfiguration(_Configuration):
    """A directory that tells by itself who joins, moves and leaves."""


Configuration = OidcConfiguration | SamlConfiguration | LdapConfiguration | ScimConfiguration

CONFIGURATIONS: dict[ProviderKind, type[Configuration]] = {
    ProviderKind.OIDC: OidcConfiguration,
    ProviderKind.SAML: SamlConfiguration,
    ProviderKind.LDAP: LdapConfiguration,
    ProviderKind.SCIM: ScimConfiguration,
}


def configuration_of(kind: ProviderKind, document: dict[str, Any]) -> Configuration:
    """Parse what is written down. Raises pydantic.ValidationError."""
    return CONFIGURATIONS[kind].model_validate(document)
