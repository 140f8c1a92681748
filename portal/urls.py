from django.urls import path

from portal.audit_views import AuditLogView
from portal.view_pages import (
    SavedViewChangeView,
    SavedViewDeleteView,
    SavedViewKeepView,
    SavedViewListView,
    SavedViewOpenView,
    SavedViewSaveView,
)
from portal.views import HomeView, SearchView, ServiceDetailView, ServiceListView

app_name = "portal"
urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("search/", SearchView.as_view(), name="search"),
    path("services/", ServiceListView.as_view(), name="service_list"),
    path("services/<slug:slug>/", ServiceDetailView.as_view(), name="service_detail"),
    path("settings/views/", SavedViewListView.as_view(), name="saved_view_list"),
    path("settings/views/save/", SavedViewSaveView.as_view(), name="saved_view_save"),
    path("settings/views/<int:pk>/keep/", SavedViewKeepView.as_view(), name="saved_view_keep"),
    path("settings/views/<int:pk>/change/", SavedViewChangeView.as_view(), name="saved_view_change"),
    path("settings/views/<int:pk>/open/", SavedViewOpenView.as_view(), name="saved_view_open"),
    path("settings/views/<int:pk>/delete/", SavedViewDeleteView.as_view(), name="saved_view_delete"),
    path("settings/audit-log/", AuditLogView.as_view(), name="audit_log"),
]
