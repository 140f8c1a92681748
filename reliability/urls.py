from django.urls import URLPattern, URLResolver, path, re_path

from reliability.views.detail import SLODetailView, SLOMinuteView
from reliability.views.otlp import MetricsView, TracesView
from reliability.views.reports import ReportDetailView, ReportFileView, ReportListView
from reliability.views.slos import SLOListView

app_name = "reliability"
urlpatterns: list[URLPattern | URLResolver] = [
    path("slos/", SLOListView.as_view(), name="slo_list"),
    path("slos/<slug:slug>/", SLODetailView.as_view(), name="slo_detail"),
    path("slos/<slug:slug>/minutes/<int:minute>/", SLOMinuteView.as_view(), name="slo_minute"),
    path("service-levels/", ReportListView.as_view(), name="report_list"),
    path("service-levels/<slug:service>/<slug:key>/", ReportDetailView.as_view(), name="report_detail"),
    re_path(
        r"^service-levels/(?P<service>[-\w]+)/(?P<key>[-\w]+)/report\.(?P<form>html|pdf)$",
        ReportFileView.as_view(),
        name="report_file",
    ),
    path("v1/metrics", MetricsView.as_view(), name="otlp_metrics"),
    path("v1/traces", TracesView.as_view(), name="otlp_traces"),
]
