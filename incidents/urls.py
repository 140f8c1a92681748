from django.urls import URLPattern, URLResolver, path

from incidents.views.inbound import InboundView

app_name = "incidents"
urlpatterns: list[URLPattern | URLResolver] = [
    path("inbound/<slug:kind>", InboundView.as_view(), name="inbound_by_header"),
    path("inbound/<slug:kind>/", InboundView.as_view()),
    path("inbound/<slug:kind>/<str:token>", InboundView.as_view(), name="inbound"),
    path("inbound/<slug:kind>/<str:token>/", InboundView.as_view()),
]
