from django.urls import URLPattern, URLResolver, path

from reliability.views.otlp import MetricsView, TracesView
from reliability.views.slos import SLODetailView, SLOListView

app_name = "reliability"
urlpatterns: list[URLPattern | URLResolver] = [
    path("slos/", SLOListView.as_view(), name="slo_list"),
    path("slos/<slug:slug>/", SLODetailView.as_view(), name="slo_detail"),
    path("v1/metrics", MetricsView.as_view(), name="otlp_metrics"),
    path("v1/traces", TracesView.as_view(), name="otlp_traces"),
]
