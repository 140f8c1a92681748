from rest_framework.routers import SimpleRouter

from runbooks.api import RunbookViewSet, RunViewSet

router = SimpleRouter()
router.register("runbooks", RunbookViewSet, basename="runbook")
router.register("runbook-runs", RunViewSet, basename="runbook-run")
urlpatterns = router.urls
