"""How the OpenAPI schema says what a caller may show: a session or a bearer token. Imported with the API."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """API tokens."""

    target_class = "accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002 the base class's signature
        return {"type": "http", "scheme": "bearer", "description": "An API token: `Authorization: Bearer assay_…`."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The web pages' session."""

    target_class = "accounts.authentication.PrincipalSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002 the base class's signature
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A signed-in person's session."}
