"""What comes between a password and a session."""

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.stages import AuthenticateStage
from django.http import HttpRequest

from accounts.adapters import provider_asks_factor


class SecondFactorStage(AuthenticateStage):  # type: ignore[misc]  # the library's classes are untyped
    """Ask for the second factor of whoever has one, unless their provider is trusted to have asked."""

    def _should_handle(self, request: HttpRequest) -> bool:
        for one in get_authentication_records(request, self.login.user):
            if one.get("method") == "socialaccount" and provider_asks_factor(str(one.get("provider"))):
                return False
        return bool(super()._should_handle(request))
