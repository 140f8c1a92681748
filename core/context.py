"""What every template may use."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from core.holding import shown_hold

_VERSION = re.compile(r'^version = "([^"]+)"', re.MULTILINE)


@cache
def site_version() -> str:
    """Return the version that the project file states; the site runs from its checkout and is not installed."""
    match = _VERSION.search((Path(settings.BASE_DIR) / "pyproject.toml").read_text())
    return match[1] if match else "unknown"


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the site's address and version, the id of this request, and whether the site is held."""
    return {
        "site_url": settings.SITE_URL,
        "site_version": site_version(),
        "site_hold": shown_hold(),
        "request_id": request.META.get("ASSAY_REQUEST_ID", ""),
    }
