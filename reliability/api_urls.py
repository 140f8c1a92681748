from django.urls import URLPattern, URLResolver, path

from reliability.api import GateApi, SLODetailApi, SLOListApi

urlpatterns: list[URLPattern | URLResolver] = [
    path("gate/", GateApi.as_view(), name="api-gate"),
    path("slos/", SLOListApi.as_view(), name="api-slo-list"),
    path("slos/<slug:slug>/", SLODetailApi.as_view(), name="api-slo-detail"),
]
