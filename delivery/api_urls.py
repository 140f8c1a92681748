from rest_framework.routers import SimpleRouter

from delivery.api import DeliveryViewSet, EndpointViewSet, NotificationViewSet

router = SimpleRouter()
router.register("deliveries", DeliveryViewSet, basename="delivery")
router.register("webhook-endpoints", EndpointViewSet, basename="webhook-endpoint")
router.register("notifications", NotificationViewSet, basename="notification")
urlpatterns = router.urls
