"""Let time pass for rows of intent: their instants move back. It works with any database's own clock."""

from datetime import timedelta

from django.db.models import F

from delivery.models import Delivery
from incidents.models import EscalationRun, Incident


def let_pass(span: timedelta) -> None:
    """Make everything that waits fall due `span` earlier."""
    Delivery.objects.filter(finished_at=None, dead_at=None).update(due_at=F("due_at") - span)
    EscalationRun.objects.filter(finished_at=None).update(due_at=F("due_at") - span)
    Incident.objects.exclude(quiet_since=None).update(quiet_since=F("quiet_since") - span)
