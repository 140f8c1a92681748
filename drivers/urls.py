from django.urls import URLPattern, URLResolver, path

from drivers.site_views import SiteView
from drivers.system_views import SystemView

app_name = "drivers"
urlpatterns: list[URLPattern | URLResolver] = [
    path("settings/site/", SiteView.as_view(), name="site"),
    path("settings/system/", SystemView.as_view(), name="system"),
]
