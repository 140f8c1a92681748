from django.urls import URLPattern, URLResolver, path

from reliability.api import (
    ExclusionDecisionApi,
    ExclusionListApi,
    GateApi,
    OverrideListApi,
    SLODetailApi,
    SLOListApi,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("gate/", GateApi.as_view(), name="api-gate"),
    path("slos/", SLOListApi.as_view(), name="api-slo-list"),
    path("slos/<slug:slug>/", SLODetailApi.as_view(), name="api-slo-detail"),
    path("exclusions/", ExclusionListApi.as_view(), name="api-exclusion-list"),
    path("exclusions/<str:reference>/<str:decision>/", ExclusionDecisionApi.as_view(), name="api-exclusion-decision"),
    path("overrides/", OverrideListApi.as_view(), name="api-override-list"),
]
