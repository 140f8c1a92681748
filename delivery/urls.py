from django.urls import URLPattern, URLResolver, path

from delivery.views import (
    ConnectorListView,
    DeliveryDetailView,
    DeliveryListView,
    EndpointCreateView,
    EndpointDetailView,
    EndpointListView,
    NotificationListView,
    NotificationReadView,
    OutsideWatchListView,
)

app_name = "delivery"
urlpatterns: list[URLPattern | URLResolver] = [
    path("notifications/", NotificationListView.as_view(), name="notification_list"),
    path("notifications/read/", NotificationReadView.as_view(http_method_names=["post"]), name="notification_read_all"),
    path("notifications/<int:pk>/", NotificationReadView.as_view(http_method_names=["get"]), name="notification_open"),
    path("settings/deliveries/", DeliveryListView.as_view(), name="delivery_list"),
    path("settings/deliveries/<str:reference>/", DeliveryDetailView.as_view(), name="delivery_detail"),
    path("settings/connectors/", ConnectorListView.as_view(), name="connector_list"),
    path("settings/outside-watch/", OutsideWatchListView.as_view(), name="outside_watch_list"),
    path("settings/webhooks/", EndpointListView.as_view(), name="endpoint_list"),
    path("settings/webhooks/add/", EndpointCreateView.as_view(), name="endpoint_create"),
    path("settings/webhooks/<slug:slug>/", EndpointDetailView.as_view(), name="endpoint_detail"),
]
