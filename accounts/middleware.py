"""Attach the principal to each request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.data import Principal, PrincipalKind
from accounts.models import User
from accounts.selectors import principal_for_user


class PrincipalMiddleware:
    """Set `request.principal`: the signed-in person's rights, or those of nobody."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        def load() -> Principal:
            if isinstance(request.user, User):
                return principal_for_user(user=request.user)
            return Principal(kind=PrincipalKind.USER, label="nobody")

        request.principal = SimpleLazyObject(load)  # type: ignore[attr-defined]
        return self.get_response(request)
