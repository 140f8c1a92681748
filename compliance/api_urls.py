from django.urls import URLPattern, URLResolver, path

from compliance.api import (
    AuditListApi,
    ControlListApi,
    EvidenceApi,
    FrameworkListApi,
    RequirementListApi,
    ScannerReportApi,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("compliance/frameworks/", FrameworkListApi.as_view()),
    path("compliance/frameworks/<slug:slug>/requirements/", RequirementListApi.as_view()),
    path("compliance/controls/", ControlListApi.as_view()),
    path("compliance/audits/", AuditListApi.as_view()),
    path("compliance/evidence/", EvidenceApi.as_view()),
    path("compliance/scanner-reports/", ScannerReportApi.as_view()),
]
