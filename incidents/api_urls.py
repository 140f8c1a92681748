from django.urls import path
from rest_framework.routers import SimpleRouter

from incidents.api import AlertViewSet, IncidentViewSet, OnCallView
from incidents.api_analytics import AnalyticsView, HistogramsView

router = SimpleRouter()
router.register("incidents", IncidentViewSet, basename="incident")
router.register("alerts", AlertViewSet, basename="alert")
urlpatterns = [
    *router.urls,
    path("incident-analytics/", AnalyticsView.as_view(), name="incident-analytics"),
    path("incident-analytics/prometheus/", HistogramsView.as_view(), name="incident-histograms"),
    path("oncall/", OnCallView.as_view(), name="oncall"),
]
