"""How often the REST API answers one sender."""

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core.limiting import RateLimit

REQUESTS = RateLimit(settings.API_RATE)


class RequestThrottle(BaseThrottle):
    """`ASSAY_API_RATE` requests a second for each token, or for each person on the pages; then 429 with Retry-After."""

    def allow_request(self, request: Request, view: Any) -> bool:  # noqa: ARG002 the base class's signature
        sender = f"token:{request.auth.pk}" if request.auth else f"user:{getattr(request.user, 'pk', None)}"
        self.seconds = REQUESTS.wait(sender)
        return not self.seconds

    def wait(self) -> float:
        return self.seconds
