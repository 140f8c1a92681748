"""How REST requests say who they are."""

from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiToken, User
from accounts.selectors import live_token, principal_for_token
from accounts.services import token_used
from core.clock import database_now


class PrincipalSessionAuthentication(SessionAuthentication):
    """The signed-in person of the web pages; the middleware has attached the principal."""


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer assay_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Send the header as `Authorization: Bearer <token>`.")
        token = live_token(secret=parts[1].decode("latin-1"), now=database_now())
        if token is None:
            raise AuthenticationFailed("This token is unknown, expired or revoked.")
        token_used(token=token)
        request._request.principal = principal_for_token(token=token)  # type: ignore[attr-defined]  # noqa: SLF001
        return token.owner, token

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 the base class's signature
        return 'Bearer realm="assay"'
