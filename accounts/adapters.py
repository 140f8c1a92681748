"""What django-allauth asks the site: it does the protocols, `accounts.services` decides what follows from them."""

import logging
from typing import Any, NoReturn

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.contrib import messages
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import ProviderKind
from accounts.domain.providers import OidcConfiguration, SamlConfiguration
from accounts.models import IdentityProvider, ProviderKey, User
from accounts.selectors import active_providers, identities_of
from accounts.services import (
    PROVED_THERE,
    SAML_TOLD,
    SignInAgainError,
    SignInRefusedError,
    Told,
    admit,
    begin_session,
    ensure_recent,
    principal_of,
    provider_answered,
    provider_configuration,
    session_closed,
    sign_in_failed,
    sign_in_is_locked,
    signed_in,
)
from core.fields import seal, unseal
from core.http import GuardedSession, guarded_session

logger = logging.getLogger(__name__)
BY_BROWSER = (ProviderKind.OIDC, ProviderKind.SAML)
LOCKED = "Too many sign-ins failed. Try again in a quarter of an hour, or ask an administrator."
EMERGENCY = "Whoever has a password kept here, as a break-glass account has, can still sign in with it."


def address_of(request: HttpRequest) -> str:
    """Return the caller's address."""
    return str(request.META.get("REMOTE_ADDR", ""))


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # the library's classes are untyped
    """Sign-in, sign-out, and showing again who one is."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 the library's signature
        """Nobody makes an account for themselves."""
        return False

    def add_message(self, request: HttpRequest, level: int, *args: Any, **kwargs: Any) -> None:
        """Say what went wrong; what went well is seen on the page."""
        if level >= messages.WARNING:
            super().add_message(request, level, *args, **kwargs)

    def get_client_ip(self, request: HttpRequest) -> str:
        return address_of(request)

    def get_login_stages(self) -> list[str]:
        return ["accounts.stages.SecondFactorStage"]

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:  # noqa: ARG002
        messages.error(request, "This account is closed. An administrator can open it again.")
        return redirect("accounts:login")

    def login(self, request: HttpRequest, user: User) -> None:
        """Begin the session and record how the person signed in."""
        before, told = request.session.session_key, request.session.pop(SAML_TOLD, None)
        proved = request.session.pop(PROVED_THERE, None)
        super().login(request, user)
        session_closed(session_key=before, why="signed in again")
        method, factor, trusted = _how(get_authentication_records(request, user))
        if not method.startswith("provider:") or (factor and not trusted):
            # A password, a passkey or a code was shown here and now.
            proved = None
        begin_session(request=request, user=user, method=method, trusted_factor=trusted, told=told, proved=proved)
        signed_in(user=user, address=address_of(request), method=method, second_factor=factor)

    def logout(self, request: HttpRequest) -> None:
        session_closed(session_key=request.session.session_key, why="signed out")
        super().logout(request)

    def reauthenticate(self, user: User, password: str) -> bool:
        """Check the password again; guessing it locks as guessing at the sign-in does."""
        request = context.request
        if sign_in_is_locked(username=user.username, address=address_of(request)):
            raise self.validation_error("too_many_login_attempts")
        found = authenticate(request, username=user.username, password=password)
        if found is None or found.pk != user.pk:
            sign_in_failed(username=user.username, address=address_of(request))
            return False
        return True

    def is_reauthentication_required(self, *, app: str, **_: Any) -> bool:  # noqa: ARG002 the library's signature
        """Ask again only who has not shown for a while who they are; signing in counts."""
        try:
            ensure_recent(principal_of(context.request))
        except SignInAgainError:
            return True
        return False

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return how a person can show who they are, the usual way first."""
        if not isinstance(user, User):
            return []
        ways = []
        by_directory = identities_of(user=user).filter(provider__kind=ProviderKind.LDAP.value).exists()
        if user.has_usable_password() or by_directory:
            ways.append(
                {"id": "reauthenticate", "description": "Use your password", "url": reverse("account_reauthenticate")}
            )
        kinds = _factor_kinds(user)
        if "totp" in kinds:
            ways.append({"id": "mfa_reauthenticate", "description": "Use a code", "url": reverse("mfa_reauthenticate")})
        if "webauthn" in kinds:
            ways.append(
                {
                    "id": "mfa_reauthenticate:webauthn",
                    "description": "Use a passkey",
                    "url": reverse("mfa_reauthenticate_webauthn"),
                }
            )
        return ways


def _factor_kinds(user: User) -> set[str]:
    return set(user.authenticator_set.values_list("type", flat=True))  # type: ignore[attr-defined]


def _how(records: list[dict[str, Any]]) -> tuple[str, str, bool]:
    """Return the way somebody signed in, their second factor, and whether their provider asked for one."""
    method, factor, trusted = "password", "", False
    for one in records:
        kind = str(one.get("type", ""))
        if one.get("passwordless"):
            method, factor = "passkey", "passkey"
        elif one.get("method") == "mfa":
            factor = {"webauthn": "passkey", "recovery_codes": "recovery code"}.get(kind, kind)
        elif one.get("method") == "socialaccount" or one.get("provider"):
            method = f"provider:{one.get('provider')}"
            trusted = provider_asks_factor(str(one.get("provider")))
            factor = "asked for by the provider" if trusted else factor
    return method, factor, trusted


def provider_asks_factor(slug: str) -> bool:
    """Say whether a provider is trusted to ask for a second factor itself."""
    provider = active_providers(kinds=BY_BROWSER).filter(slug=slug).first()
    return bool(provider and provider.configuration.get("asks_second_factor"))


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors: their secrets are encrypted like every other."""

    error_messages = {**DefaultMFAAdapter.error_messages, "incorrect_code": "This code is not right."}

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)

    def _get_site_name(self) -> str:
        return "Assay"


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Providers are rows of `IdentityProvider`; whom they know is admitted by `accounts.services.admit`."""

    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> list[Any]:  # noqa: ARG002
        """Return the active providers as the library wants them, unsaved."""
        from allauth.socialaccount.models import SocialApp  # noqa: PLC0415 the registry is loaded before the models

        apps = []
        for one in active_providers(kinds=BY_BROWSER):
            library_name = "openid_connect" if one.kind == ProviderKind.OIDC else "saml"
            if provider not in {None, library_name, one.slug} or (client_id and client_id not in _client_ids(one)):
                continue
            app = SocialApp(provider=library_name, provider_id=one.slug, name=one.name, secret=one.secret)
            app.client_id, app.settings = _library_settings(one)
            apps.append(app)
        return apps

    def get_requests_session(self) -> GuardedSession:
        """Return the guarded client; a provider on a private network is reached when its set-up says so."""
        provider = _provider_of(context.request)
        configuration = provider_configuration(provider) if provider else None
        private = isinstance(configuration, OidcConfiguration) and configuration.private_network
        return guarded_session(allow=("0.0.0.0/0", "::/0") if private else (), timeout_seconds=8)

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:  # noqa: ARG002
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Admit whom a provider has confirmed, or say why not. Nothing is left to the library to decide."""
        provider = IdentityProvider.objects.filter(slug=sociallogin.account.provider).first()
        if provider is None or sociallogin.state.get("process") != "login":
            _refuse(request, provider, "This sign-in was not begun here.")
        try:
            user, followed = admit(provider=provider, told=_told(provider, sociallogin))
        except SignInRefusedError as error:
            _refuse(request, provider, str(error))
        provider_answered(provider=provider)
        for kept in followed.refused:
            messages.warning(
                request, f"Your groups at {provider} no longer give {kept}, but you are the only administrator: kept."
            )
        account = sociallogin.account
        known = type(account).objects.filter(provider=account.provider, uid=account.uid).first()
        if known is not None and known.user_id != user.pk:
            known.delete()
            known = None
        if known is None:
            account.user, account.extra_data = user, {}
            account.save()
        sociallogin.user = user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Keep why a provider could not confirm somebody, and say what still works."""
        slug = getattr(getattr(provider, "app", None), "provider_id", "")
        known = IdentityProvider.objects.filter(slug=slug).first()
        said = (extra_context or {}).get("saml_last_error_reason") or (str(exception) if exception else "")
        why = said or (f"the answer was {error}" if error else "the answer does not fit a sign-in begun here")
        logger.warning("sign-in by %s refused: %s", slug, why)
        if known is not None:
            provider_answered(provider=known, error=why)
        _refuse(request, known, _plainly(exception, why))


def _plainly(exception: Exception | None, why: str) -> str:
    if isinstance(exception, requests.exceptions.SSLError):
        return "Its certificate is not one that this site trusts, or has expired."
    if isinstance(exception, requests.exceptions.RequestException):
        return "It does not answer."
    if "cancelled" in why:
        return "The sign-in was cancelled there."
    return "Its answer was not accepted; an administrator can see why at the provider's page in the settings."


def _refuse(request: HttpRequest, provider: IdentityProvider | None, why: str) -> NoReturn:
    answer = render(
        request,
        "accounts/sign_in_refused.html",
        {"title": "Not signed in", "provider": provider, "why": why, "emergency": EMERGENCY},
        status=403,
    )
    raise ImmediateHttpResponse(answer)


def refusal(request: HttpRequest, slug: str, error: Exception) -> HttpResponse:
    """Answer for a provider that could not even be asked."""
    provider = IdentityProvider.objects.filter(slug=slug).first()
    logger.warning("sign-in by %s failed: %s: %s", slug, type(error).__name__, error)
    if provider is not None:
        provider_answered(provider=provider, error=f"{type(error).__name__}: {error}")
    try:
        _refuse(request, provider, _plainly(error, str(error)))
    except ImmediateHttpResponse as answer:
        response: HttpResponse = answer.response
        return response


def _provider_of(request: HttpRequest) -> IdentityProvider | None:
    match = getattr(request, "resolver_match", None)
    slug = match.kwargs.get("provider_id", "") if match else ""
    return IdentityProvider.objects.filter(slug=slug).first() if slug else None


def _client_ids(provider: IdentityProvider) -> set[str]:
    return {provider.slug, str(provider.configuration.get("client_id", ""))}


def _library_settings(provider: IdentityProvider) -> tuple[str, dict[str, Any]]:
    configuration = provider_configuration(provider)
    if isinstance(configuration, OidcConfiguration):
        return configuration.client_id, {
            "server_url": configuration.issuer,
            "scope": list(configuration.scopes),
            "oauth_pkce_enabled": True,
        }
    assert isinstance(configuration, SamlConfiguration)  # noqa: S101 the only other kind that browsers use
    keys = {one.state: one for one in provider.keys.all()}
    current, following = keys.get(ProviderKey.State.CURRENT), keys.get(ProviderKey.State.NEXT)
    advanced: dict[str, Any] = {
        "want_assertion_signed": True,
        "want_assertion_encrypted": configuration.must_encrypt,
        "want_name_id": True,
        "reject_idp_initiated_sso": True,
        "allow_single_label_domains": True,
    }
    if current is not None:
        advanced |= {
            "x509cert": current.certificate,
            "private_key": current.private_key,
            "authn_request_signed": configuration.signs_requests,
            "logout_request_signed": True,
            "logout_response_signed": True,
        }
    if following is not None:
        advanced["x509cert_new"] = following.certificate
    return provider.slug, {
        "idp": {
            "entity_id": configuration.entity_id,
            "sso_url": configuration.sso_url,
            "slo_url": configuration.slo_url,
            "x509cert": configuration.certificates[0],
        },
        "attribute_mapping": {"email": configuration.mail_attribute, "first_name": configuration.name_attribute},
        "advanced": advanced,
    }


def _told(provider: IdentityProvider, sociallogin: Any) -> Told:
    configuration, said = provider_configuration(provider), sociallogin.account.extra_data
    if isinstance(configuration, OidcConfiguration):
        claims = {**said.get("userinfo", {}), **said.get("id_token", {})}
        return Told(
            subject=str(claims.get("sub", "")),
            username=str(claims.get("preferred_username") or ""),
            name=str(claims.get("name") or ""),
            mail=str(claims.get("email") or ""),
            mail_is_confirmed=claims.get("email_verified") is True,
            groups=_texts(claims.get(configuration.groups_claim)),
        )
    assert isinstance(configuration, SamlConfiguration)  # noqa: S101 the only other kind that browsers use
    mail = (_attribute(said, configuration.mail_attribute, "mail") or ("",))[0]
    return Told(
        subject=str(sociallogin.account.uid),
        username=mail.partition("@")[0] or str(sociallogin.account.uid),
        name=(_attribute(said, configuration.name_attribute, "name") or ("",))[0],
        mail=mail,
        mail_is_confirmed=bool(mail),
        groups=_attribute(said, configuration.groups_attribute, "groups"),
    )


# What providers call these where nobody changed it: LDAP's object identifiers, and the claims of AD FS and Entra ID.
_CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
USUAL_NAMES = {
    "mail": ("urn:oid:0.9.2342.19200300.100.1.3", f"{_CLAIMS}/emailaddress"),
    "name": ("urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.microsoft.com/identity/claims/displayname"),
    "groups": (
        "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
        "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
    ),
}


def _attribute(said: dict[str, Any], configured: str, meaning: str) -> tuple[str, ...]:
    for name in (configured, *USUAL_NAMES[meaning]):
        if found := _texts(said.get(name)):
            return found
    return ()


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(one) for one in value) if isinstance(value, list | tuple) else ()


__all__ = ["AccountAdapter", "FactorAdapter", "ProviderAdapter", "refusal"]
