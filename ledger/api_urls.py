from django.urls import path
from rest_framework.routers import SimpleRouter

from ledger.api import CheckpointViewSet, EntryViewSet, KeyView

router = SimpleRouter()
router.register("ledger/entries", EntryViewSet, basename="ledger-entry")
router.register("ledger/checkpoints", CheckpointViewSet, basename="ledger-checkpoint")
urlpatterns = [path("ledger/key/", KeyView.as_view(), name="ledger-key"), *router.urls]
