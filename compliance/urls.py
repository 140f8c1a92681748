from django.urls import URLPattern, URLResolver, path, re_path

from compliance.views import audits, controls, exports, frameworks, reviews, room

app_name = "compliance"
urlpatterns: list[URLPattern | URLResolver] = [
    path("compliance/", frameworks.OverviewView.as_view(), name="overview"),
    path("compliance/evidence/", reviews.EvidenceListView.as_view(), name="evidence_list"),
    path("compliance/evidence/<slug:reference>/", reviews.SubmittedDetailView.as_view(), name="submitted_detail"),
    path("compliance/evidence/<slug:reference>/file/", reviews.SubmittedFileView.as_view(), name="submitted_file"),
    path("compliance/exceptions/", reviews.ExceptionListView.as_view(), name="exception_list"),
    path("compliance/exceptions/add/", reviews.ExceptionAddView.as_view(), name="exception_add"),
    path("compliance/exceptions/<int:pk>/", reviews.ExceptionDetailView.as_view(), name="exception_detail"),
    path("compliance/exports/", exports.ExportListView.as_view(), name="export_list"),
    path("compliance/exports/<slug:register>.csv", exports.RegisterFileView.as_view(), name="register_file"),
    re_path(
        r"^compliance/(?P<slug>[-\w]+)/statement\.(?P<kind>pdf|csv)$",
        exports.StatementFileView.as_view(),
        name="statement_file",
    ),
    path(
        "compliance/<slug:slug>/<slug:requirement>/applicability/",
        exports.ApplicabilityView.as_view(),
        name="applicability",
    ),
    path("compliance/<slug:slug>/", frameworks.FrameworkDetailView.as_view(), name="framework_detail"),
    path(
        "compliance/<slug:slug>/<slug:requirement>/",
        frameworks.RequirementDetailView.as_view(),
        name="requirement_detail",
    ),
    path("controls/", controls.ControlListView.as_view(), name="control_list"),
    path("controls/<slug:slug>/", controls.ControlDetailView.as_view(), name="control_detail"),
    path("controls/<slug:slug>/evidence/add/", reviews.EvidenceAddView.as_view(), name="evidence_add"),
    path("controls/<slug:slug>/evidence/<int:entry>/", controls.EvidenceDetailView.as_view(), name="evidence_detail"),
    path("audits/", audits.EngagementListView.as_view(), name="engagement_list"),
    path("audits/add/", audits.EngagementAddView.as_view(), name="engagement_add"),
    path("audits/<slug:slug>/", audits.EngagementDetailView.as_view(), name="engagement_detail"),
    path("audits/<slug:slug>/auditors/add/", audits.GrantAddView.as_view(), name="grant_add"),
    path("audits/<slug:slug>/auditors/<int:pk>/revoke/", audits.GrantRevokeView.as_view(), name="grant_revoke"),
    path("audits/<slug:slug>/close/", audits.EngagementCloseView.as_view(), name="engagement_close"),
    path("audits/<slug:slug>/requests/add/", room.RequestAddView.as_view(), name="request_add"),
    path("audits/<slug:slug>/requests/<int:number>/", room.RequestDetailView.as_view(), name="request_detail"),
    path("audits/<slug:slug>/populations/add/", room.PopulationAddView.as_view(), name="population_add"),
    path(
        "audits/<slug:slug>/populations/<slug:population>/",
        room.PopulationDetailView.as_view(),
        name="population_detail",
    ),
    path(
        "audits/<slug:slug>/populations/<slug:population>/samples/<int:pk>/",
        room.SampleDetailView.as_view(),
        name="sample_detail",
    ),
    path(
        "audits/<slug:slug>/populations/<slug:population>/entries/<int:seq>/",
        room.PopulationEntryView.as_view(),
        name="population_entry",
    ),
    path("audits/<slug:slug>/findings/add/", room.FindingAddView.as_view(), name="finding_add"),
    path("audits/<slug:slug>/findings/<int:number>/", room.FindingDetailView.as_view(), name="finding_detail"),
    path("audits/<slug:slug>/access/", room.AccessListView.as_view(), name="access_list"),
    path("audits/<slug:slug>/packs/<slug:reference>/", audits.PackProgressView.as_view(), name="pack_progress"),
    path("audits/<slug:slug>/packs/<slug:reference>/file/", audits.PackDownloadView.as_view(), name="pack_download"),
]
