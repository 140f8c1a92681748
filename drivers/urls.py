from django.urls import URLPattern, URLResolver, path

from drivers.site_views import SiteView

app_name = "drivers"
urlpatterns: list[URLPattern | URLResolver] = [path("settings/site/", SiteView.as_view(), name="site")]
