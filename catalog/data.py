"""Values of the catalog that other rooms hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import models


class ActivityKind(models.TextChoices):
    """What kind of interval an activity is."""

    DEPLOYMENT = "deployment", "Deployment"
    INCIDENT = "incident", "Incident"
    CHAOS_RUN = "chaos_run", "Chaos run"
    DR_TEST = "dr_test", "Recovery test"
    MAINTENANCE = "maintenance", "Maintenance"


class ActionItemState(models.TextChoices):
    """Where a follow-up stands."""

    OPEN = "open", "Open"
    DONE = "done", "Done"
    DROPPED = "dropped", "Dropped"


@dataclass(frozen=True)
class ActivityStart:
    """An interval to open: what `start_activity` takes."""

    kind: ActivityKind
    source_key: str
    title: str
    url: str
    service_ids: Sequence[int]
    started_at: datetime
