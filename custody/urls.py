from django.urls import URLPattern, URLResolver, path

from custody import views

app_name = "custody"
urlpatterns: list[URLPattern | URLResolver] = [
    path("settings/data/", views.ClassListView.as_view(), name="class_list"),
    path("settings/data/holds/", views.HoldListView.as_view(), name="hold_list"),
    path("settings/data/holds/add/", views.HoldCreateView.as_view(), name="hold_create"),
    path("settings/data/holds/<int:pk>/", views.HoldDetailView.as_view(), name="hold_detail"),
    path("settings/data/erasures/", views.ErasureListView.as_view(), name="erasure_list"),
    path("settings/data/classes/<str:key>/", views.ClassDetailView.as_view(), name="class_detail"),
    path("settings/account/data/", views.OwnDataView.as_view(), name="own_data"),
    path("settings/people/<str:username>/data/", views.PersonDataView.as_view(), name="person_data"),
]
