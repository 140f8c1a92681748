from django.urls import URLPattern, URLResolver, path

from runbooks.views import RunbookDetailView, RunbookListView, RunDetailView, RunListView

app_name = "runbooks"
urlpatterns: list[URLPattern | URLResolver] = [
    path("runbooks/", RunbookListView.as_view(), name="runbook_list"),
    path("runbooks/runs/", RunListView.as_view(), name="run_list"),
    path("runbooks/runs/<str:reference>/", RunDetailView.as_view(), name="run_detail"),
    path("runbooks/<slug:slug>/", RunbookDetailView.as_view(), name="runbook_detail"),
]
