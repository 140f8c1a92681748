from django.urls import URLPattern, URLResolver, path

from compliance.views.audits import EngagementDetailView, EngagementListView, PackDownloadView, PackProgressView
from compliance.views.controls import ControlDetailView, ControlListView, EvidenceDetailView
from compliance.views.frameworks import FrameworkDetailView, OverviewView, RequirementDetailView

app_name = "compliance"
urlpatterns: list[URLPattern | URLResolver] = [
    path("compliance/", OverviewView.as_view(), name="overview"),
    path("compliance/<slug:slug>/", FrameworkDetailView.as_view(), name="framework_detail"),
    path("compliance/<slug:slug>/<slug:requirement>/", RequirementDetailView.as_view(), name="requirement_detail"),
    path("controls/", ControlListView.as_view(), name="control_list"),
    path("controls/<slug:slug>/", ControlDetailView.as_view(), name="control_detail"),
    path("controls/<slug:slug>/evidence/<int:entry>/", EvidenceDetailView.as_view(), name="evidence_detail"),
    path("audits/", EngagementListView.as_view(), name="engagement_list"),
    path("audits/<slug:slug>/", EngagementDetailView.as_view(), name="engagement_detail"),
    path("audits/<slug:slug>/packs/<slug:reference>/", PackProgressView.as_view(), name="pack_progress"),
    path("audits/<slug:slug>/packs/<slug:reference>/file/", PackDownloadView.as_view(), name="pack_download"),
]
