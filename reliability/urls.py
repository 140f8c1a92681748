from django.urls import URLPattern, URLResolver, path

from reliability.views import MetricsView, TracesView

app_name = "reliability"
urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/metrics", MetricsView.as_view(), name="otlp_metrics"),
    path("v1/traces", TracesView.as_view(), name="otlp_traces"),
]
