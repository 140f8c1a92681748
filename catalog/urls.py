from django.urls import URLPattern, URLResolver, path

from catalog.views import ActionItemListView, DeploymentDetailView, DeploymentListView, TeamListView

app_name = "catalog"
urlpatterns: list[URLPattern | URLResolver] = [
    path("teams/", TeamListView.as_view(), name="team_list"),
    path("deployments/", DeploymentListView.as_view(), name="deployment_list"),
    path("deployments/<path:reference>/", DeploymentDetailView.as_view(), name="deployment_detail"),
    path("actions/", ActionItemListView.as_view(), name="action_item_list"),
]
