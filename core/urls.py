from django.urls import URLPattern, URLResolver, path

from core.views import healthz, metrics, readyz

app_name = "core"
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
