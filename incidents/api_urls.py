from django.urls import path
from rest_framework.routers import SimpleRouter

from incidents.api import AlertViewSet, IncidentViewSet, OnCallView

router = SimpleRouter()
router.register("incidents", IncidentViewSet, basename="incident")
router.register("alerts", AlertViewSet, basename="alert")
urlpatterns = [*router.urls, path("oncall/", OnCallView.as_view(), name="oncall")]
