from importlib import import_module

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from accounts.api import LockOutView, TeamViewSet, TokenViewSet, UserRoleViewSet, UserViewSet

# It registers itself: how callers say who they are.
import_module("accounts.api_schema")
router = SimpleRouter()
router.register("users", UserViewSet, basename="user")
router.register("teams", TeamViewSet, basename="team")
router.register("tokens", TokenViewSet, basename="token")
urlpatterns: list[URLPattern | URLResolver] = [
    *router.urls,
    path("sign-in/lock-outs/", LockOutView.as_view(), name="lock-outs"),
    path(
        "users/<str:username>/roles/",
        UserRoleViewSet.as_view({"post": "create", "delete": "revoke"}),
        name="user-roles",
    ),
]
