from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from chaos.api import ExperimentViewSet, KillSwitchApi, RunViewSet
from chaos.finding_api import FindingViewSet
from chaos.recovery_api import RecoveryRunViewSet, RecoveryTestViewSet

router = SimpleRouter()
router.register("chaos/experiments", ExperimentViewSet, basename="chaos-experiment")
router.register("chaos/runs", RunViewSet, basename="chaos-run")
router.register("chaos/findings", FindingViewSet, basename="chaos-finding")
router.register("recovery/tests", RecoveryTestViewSet, basename="recovery-test")
router.register("recovery/runs", RecoveryRunViewSet, basename="recovery-run")
urlpatterns: list[URLPattern | URLResolver] = [
    path("chaos/kill-switch/", KillSwitchApi.as_view(), name="chaos_kill_switch"),
    path("", include(router.urls)),
]
