"""How REST requests say who they are."""

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request


class PrincipalSessionAuthentication(SessionAuthentication):
    """The signed-in person of the web pages."""


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`."""

    def authenticate(self, request: Request) -> None:  # noqa: ARG002
        return None
