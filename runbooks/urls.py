from django.urls import URLPattern, URLResolver, path

from runbooks import views

app_name = "runbooks"
urlpatterns: list[URLPattern | URLResolver] = [
    path("runbooks/", views.RunbookListView.as_view(), name="runbook_list"),
    path("runbooks/coverage/", views.CoverageView.as_view(), name="coverage"),
    path("runbooks/new/", views.RunbookCreateView.as_view(), name="runbook_create"),
    path("runbooks/preview/", views.PreviewView.as_view(), name="preview"),
    path("runbooks/runs/", views.RunListView.as_view(), name="run_list"),
    path("runbooks/runs/<str:reference>/", views.RunDetailView.as_view(), name="run_detail"),
    path("runbooks/runs/<str:reference>/output/", views.RunOutputView.as_view(), name="run_output"),
    path("runbooks/runs/<str:reference>/plan/<slug:step_id>/", views.RunPlanView.as_view(), name="run_plan"),
    path("runbooks/<slug:slug>/", views.RunbookDetailView.as_view(), name="runbook_detail"),
    path("runbooks/<slug:slug>/edit/", views.RunbookEditView.as_view(), name="runbook_edit"),
    path("runbooks/<slug:slug>/history/", views.HistoryView.as_view(), name="runbook_history"),
    path("runbooks/<slug:slug>/revisions/", views.RevisionsView.as_view(), name="runbook_revisions"),
]
