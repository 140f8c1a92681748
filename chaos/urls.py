from django.urls import URLPattern, URLResolver, path

from chaos.builder_views import BuilderView
from chaos.program_views import (
    CoverageView,
    FindingDetailView,
    FindingListView,
    GameDayDetailView,
    GameDayListView,
    GameDaySessionView,
)
from chaos.recovery_views import (
    RecoveryCalendarView,
    RecoveryRunDetailView,
    RecoveryRunListView,
    RecoveryTestDetailView,
    RecoveryTestListView,
)
from chaos.run_views import RunComparisonView, RunDetailView
from chaos.views import ExperimentDetailView, ExperimentListView, KillSwitchView, RunListView

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
    path("chaos/runs/<str:reference>/beside/<str:other>/", RunComparisonView.as_view(), name="run_comparison"),
    path("chaos/new/", BuilderView.as_view(), name="builder"),
    path("chaos/coverage/", CoverageView.as_view(), name="coverage"),
    path("chaos/findings/", FindingListView.as_view(), name="finding_list"),
    path("chaos/findings/<int:number>/", FindingDetailView.as_view(), name="finding_detail"),
    path("chaos/game-days/", GameDayListView.as_view(), name="game_day_list"),
    path("chaos/game-days/held/<str:reference>/", GameDaySessionView.as_view(), name="game_day_session"),
    path("chaos/game-days/<slug:slug>/", GameDayDetailView.as_view(), name="game_day_detail"),
    path("chaos/kill-switch/", KillSwitchView.as_view(), name="kill_switch"),
    path("chaos/<slug:slug>/", ExperimentDetailView.as_view(), name="experiment_detail"),
]
