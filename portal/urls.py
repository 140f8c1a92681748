from django.urls import path

from portal.views import HomeView, SearchView, ServiceDetailView, ServiceListView

app_name = "portal"
urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("search/", SearchView.as_view(), name="search"),
    path("services/", ServiceListView.as_view(), name="service_list"),
    path("services/<slug:slug>/", ServiceDetailView.as_view(), name="service_detail"),
]
