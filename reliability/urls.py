from django.urls import URLPattern, URLResolver, path, re_path

from reliability.views.capacity import CapacityListView
from reliability.views.delivery import DeliveryMeasuresView
from reliability.views.detail import SLODetailView, SLOMinuteView
from reliability.views.exclusions import ExclusionAddView, ExclusionDetailView, ExclusionListView
from reliability.views.foresight import WhatIfView
from reliability.views.otlp import MetricsView, TracesView
from reliability.views.packs import PackDetailView, PackListView
from reliability.views.policies import OverrideEndView, PolicyView
from reliability.views.reports import ReportDetailView, ReportFileView, ReportListView
from reliability.views.slos import SLOListView
from reliability.views.sources import SourceDetailView, SourceListView

app_name = "reliability"
urlpatterns: list[URLPattern | URLResolver] = [
    path("slos/", SLOListView.as_view(), name="slo_list"),
    path("slos/<slug:slug>/", SLODetailView.as_view(), name="slo_detail"),
    path("slos/<slug:slug>/minutes/<int:minute>/", SLOMinuteView.as_view(), name="slo_minute"),
    path("slos/<slug:slug>/what-if/", WhatIfView.as_view(), name="slo_whatif"),
    path("exclusions/", ExclusionListView.as_view(), name="exclusion_list"),
    path("exclusions/ask/", ExclusionAddView.as_view(), name="exclusion_add"),
    path("exclusions/<str:reference>/", ExclusionDetailView.as_view(), name="exclusion_detail"),
    path("error-budgets/", PolicyView.as_view(), name="policy_list"),
    path("error-budgets/overrides/<str:reference>/end/", OverrideEndView.as_view(), name="override_end"),
    path("capacity/", CapacityListView.as_view(), name="capacity_list"),
    path("dora/", DeliveryMeasuresView.as_view(), name="delivery_measures"),
    path("slo-packs/", PackListView.as_view(), name="pack_list"),
    path("slo-packs/<slug:name>/", PackDetailView.as_view(), name="pack_detail"),
    path("service-levels/", ReportListView.as_view(), name="report_list"),
    path("service-levels/<slug:service>/<slug:key>/", ReportDetailView.as_view(), name="report_detail"),
    re_path(
        r"^service-levels/(?P<service>[-\w]+)/(?P<key>[-\w]+)/report\.(?P<form>html|pdf)$",
        ReportFileView.as_view(),
        name="report_file",
    ),
    path("settings/sources/", SourceListView.as_view(), name="source_list"),
    path("settings/sources/<slug:slug>/", SourceDetailView.as_view(), name="source_detail"),
    path("v1/metrics", MetricsView.as_view(), name="otlp_metrics"),
    path("v1/traces", TracesView.as_view(), name="otlp_traces"),
]
