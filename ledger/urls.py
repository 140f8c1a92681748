from django.urls import URLPattern, URLResolver, path

from ledger import forwarding_views, views

app_name = "ledger"
urlpatterns: list[URLPattern | URLResolver] = [
    path("ledger/", views.EntryListView.as_view(), name="entry_list"),
    path("ledger/entries/<int:pk>/", views.EntryDetailView.as_view(), name="entry_detail"),
    path("ledger/artifacts/<str:sha256>/", views.ArtifactView.as_view(), name="artifact"),
    path("ledger/checkpoints/", views.CheckpointListView.as_view(), name="checkpoint_list"),
    path("ledger/checkpoints/<int:pk>/", views.CheckpointNoteView.as_view(), name="checkpoint_note"),
    path("ledger/verify/", views.VerifyView.as_view(), name="verify"),
    path("ledger/verifier/", views.VerifierView.as_view(), name="verifier"),
    path("ledger/export/", views.ExportView.as_view(), name="export"),
    path("settings/forwarding/", forwarding_views.ForwarderListView.as_view(), name="forwarder_list"),
    path("settings/forwarding/add/", forwarding_views.ForwarderCreateView.as_view(), name="forwarder_create"),
    path("settings/forwarding/<slug:name>/", forwarding_views.ForwarderDetailView.as_view(), name="forwarder_detail"),
]
