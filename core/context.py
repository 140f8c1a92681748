"""What every template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the site's address and the id of this request."""
    return {"site_url": settings.SITE_URL, "request_id": request.META.get("ASSAY_REQUEST_ID", "")}
