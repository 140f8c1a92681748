"""Where each room answers. A room's pages live in its `urls.py`, its REST endpoints in its `api_urls.py`."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

API_ROOMS = (
    "accounts",
    "catalog",
    "chaos",
    "compliance",
    "delivery",
    "drivers",
    "incidents",
    "ledger",
    "reliability",
    "runbooks",
)

urlpatterns = [
    path("", include("core.urls")),
    path("", include("portal.urls")),
    path("", include("accounts.urls")),
    path("", include("catalog.urls")),
    path("", include("reliability.urls")),
    path("", include("incidents.urls")),
    path("", include("runbooks.urls")),
    path("", include("chaos.urls")),
    path("", include("compliance.urls")),
    path("", include("ledger.urls")),
    path("", include("delivery.urls")),
    path("", include("drivers.urls")),
    path("", include("custody.urls")),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    *(path("api/v1/", include(f"{room}.api_urls")) for room in API_ROOMS),
]

handler400 = "portal.views.bad_request"
handler404 = "portal.views.not_found"
handler500 = "portal.views.server_error"
