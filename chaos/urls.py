from django.urls import URLPattern, URLResolver, path

from chaos.recovery_views import (
    RecoveryCalendarView,
    RecoveryRunDetailView,
    RecoveryRunListView,
    RecoveryTestDetailView,
    RecoveryTestListView,
)
from chaos.views import ExperimentDetailView, ExperimentListView, KillSwitchView, RunDetailView, RunListView

app_name = "chaos"
urlpatterns: list[URLPattern | URLResolver] = [
    path("recovery/", RecoveryTestListView.as_view(), name="recovery_list"),
    path("recovery/calendar/", RecoveryCalendarView.as_view(), name="recovery_calendar"),
    path("recovery/runs/", RecoveryRunListView.as_view(), name="recovery_run_list"),
    path("recovery/runs/<str:reference>/", RecoveryRunDetailView.as_view(), name="recovery_run_detail"),
    path("recovery/<slug:slug>/", RecoveryTestDetailView.as_view(), name="recovery_detail"),
    path("chaos/", ExperimentListView.as_view(), name="experiment_list"),
    path("chaos/runs/", RunListView.as_view(), name="run_list"),
    path("chaos/runs/<str:reference>/", RunDetailView.as_view(), name="run_detail"),
    path("chaos/kill-switch/", KillSwitchView.as_view(), name="kill_switch"),
    path("chaos/<slug:slug>/", ExperimentDetailView.as_view(), name="experiment_detail"),
]
