from django.urls import URLPattern, URLResolver, path

from chaos.views import ExperimentDetailView, ExperimentListView, KillSwitchView, RunDetailView, RunListView

app_name = "chaos"
urlpatterns: list[URLPattern | URLResolver] = [
    path("chaos/", ExperimentListView.as_view(), name="experiment_list"),
    path("chaos/runs/", RunListView.as_view(), name="run_list"),
    path("chaos/runs/<str:reference>/", RunDetailView.as_view(), name="run_detail"),
    path("chaos/kill-switch/", KillSwitchView.as_view(), name="kill_switch"),
    path("chaos/<slug:slug>/", ExperimentDetailView.as_view(), name="experiment_detail"),
]
