"""How REST requests say who they are."""

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.data import Principal
from accounts.models import ApiToken, User
from accounts.selectors import live_token, principal_for_token
from accounts.services import token_used
from core.clock import database_now


class PrincipalSessionAuthentication(SessionAuthentication):
    """The signed-in person of the web pages; the middleware has attached the principal."""


def token_of(request: HttpRequest) -> ApiToken | None:
    """Return the live token that a request carries, None without any. Raises AuthenticationFailed."""
    parts = request.headers.get("Authorization", "").split()
    if not parts or parts[0].lower() != "bearer":
        return None
    if len(parts) != 2:
        raise AuthenticationFailed("Send the header as `Authorization: Bearer <token>`.")
    token = live_token(secret=parts[1], now=database_now())
    if token is None:
        raise AuthenticationFailed("This token is unknown, expired or revoked.")
    token_used(token=token)
    return token


def principal_by_bearer(request: HttpRequest) -> Principal:
    """Return whom the token of a request acts for. Raises AuthenticationFailed, also without any."""
    token = token_of(request)
    if token is None:
        raise AuthenticationFailed("Send the header as `Authorization: Bearer <token>`.")
    return principal_for_token(token=token)


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer assay_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        django_request = request._request  # noqa: SLF001 DRF's only way
        token = token_of(django_request)
        if token is None:
            return None
        django_request.principal = principal_for_token(token=token)  # type: ignore[attr-defined]
        return token.owner, token

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 the base class's signature
        return 'Bearer realm="assay"'
