from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from compliance.api.handed_in import ExceptionViewSet, HandedInViewSet
from compliance.api.reading import (
    AuditListApi,
    ControlListApi,
    ControlRetireApi,
    DocumentsApi,
    EvidenceApi,
    FrameworkListApi,
    RequirementListApi,
    ScannerReportApi,
)
from compliance.api.registers import (
    CampaignViewSet,
    PolicyViewSet,
    RiskViewSet,
    ScanViewSet,
    VendorViewSet,
    WeaknessViewSet,
)
from compliance.api.room import FindingViewSet, RequestViewSet

router = SimpleRouter()
router.register("compliance/risks", RiskViewSet, basename="compliance_risk")
router.register("compliance/vendors", VendorViewSet, basename="compliance_vendor")
router.register("compliance/policies", PolicyViewSet, basename="compliance_policy")
router.register("compliance/weaknesses", WeaknessViewSet, basename="compliance_weakness")
router.register("compliance/access-reviews", CampaignViewSet, basename="compliance_access_review")
router.register("compliance/scans", ScanViewSet, basename="compliance_scan")
router.register("compliance/handed-in", HandedInViewSet, basename="compliance_handed_in")
router.register("compliance/exceptions", ExceptionViewSet, basename="compliance_exception")
router.register(r"compliance/audits/(?P<audit>[-\w]+)/requests", RequestViewSet, basename="compliance_request")
router.register(r"compliance/audits/(?P<audit>[-\w]+)/findings", FindingViewSet, basename="compliance_finding")

urlpatterns: list[URLPattern | URLResolver] = [
    path("compliance/frameworks/", FrameworkListApi.as_view()),
    path("compliance/frameworks/<slug:slug>/requirements/", RequirementListApi.as_view()),
    path("compliance/controls/", ControlListApi.as_view()),
    path("compliance/controls/<slug:slug>/retire/", ControlRetireApi.as_view()),
    path("compliance/audits/", AuditListApi.as_view()),
    path("compliance/documents/", DocumentsApi.as_view()),
    path("compliance/evidence/", EvidenceApi.as_view()),
    path("compliance/scanner-reports/", ScannerReportApi.as_view()),
    *router.urls,
]
