from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from catalog.api import DeploymentViewSet, ServiceViewSet

router = SimpleRouter()
router.register("services", ServiceViewSet, basename="service")
router.register("deployments", DeploymentViewSet, basename="deployment")
urlpatterns: list[URLPattern | URLResolver] = [path("", include(router.urls))]
