"""Which release brought this database to where it is, and which work only newer processes may take.

While a release is rolled out, processes of two releases share the database. What a newer one writes in a form that an
older one does not know must wait for a newer worker:

- a queue has a `format`; the newest that was ever declared stands in `WorkFormat`, and a worker whose code knows only
  an older one leaves the queue alone;
- an event is addressed to a subscriber in the format of its kind, and a turn to a job by name: a worker claims only
  those that its code knows.
"""

from django.db import models, transaction
from django.db.models import Exists, Q

from core.clock import database_now


class WorkFormat(models.Model):
    """The newest format in which rows of a queue may be written."""

    queue = models.CharField(max_length=120, primary_key=True)
    format = models.PositiveSmallIntegerField()
    release = models.CharField(max_length=40, help_text="The release that declared it.")
    since = models.DateTimeField()

    class Meta:
        app_label = "core"
        ordering = ("queue",)

    def __str__(self) -> str:
        return f"{self.queue} in format {self.format}"


class SchemaRelease(models.Model):
    """A release that this database was brought to; the newest row is where it stands."""

    version = models.CharField(max_length=40)
    entered_at = models.DateTimeField()
    by = models.CharField(max_length=120, help_text="A principal's reference, or the process that did it.")
    formats = models.JSONField(default=dict, help_text="The format of each queue above 1.")

    class Meta:
        app_label = "core"
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.version


def newer_format(queue: str, known: int) -> Exists:
    """Return the condition that a newer release writes this queue in a format above the one known here."""
    return Exists(WorkFormat.objects.filter(Q(queue=queue, format__gt=known)))


def formats_ahead(formats: dict[str, int]) -> dict[str, int]:
    """Return the queues, of those given with the format known here, that are declared in a newer one."""
    return {row.queue: row.format for row in WorkFormat.objects.all() if row.format > formats.get(row.queue, 0)}


def current_release() -> SchemaRelease | None:
    """Return where the database stands, or None before any process has said so."""
    return SchemaRelease.objects.first()


@transaction.atomic
def enter_release(*, version: str, formats: dict[str, int], by: str) -> list[str]:
    """Note that processes of this release work here; returns the queues whose format was raised. Never lowers one."""
    raised = []
    now = database_now()
    above_one = {queue: number for queue, number in formats.items() if number > 1}
    for queue, number in above_one.items():
        changed = WorkFormat.objects.filter(queue=queue, format__lt=number).update(
            format=number, release=version, since=now
        )
        made = WorkFormat.objects.get_or_create(
            queue=queue, defaults={"format": number, "release": version, "since": now}
        )[1]
        if changed or made:
            raised.append(queue)
    stands = current_release()
    if stands is None or raised or stands.version != version:
        SchemaRelease.objects.create(version=version, entered_at=now, by=by, formats=above_one)
    return raised


@transaction.atomic
def return_to_release(*, version: str, formats: dict[str, int], by: str) -> list[str]:
    """Lower the formats to those of an older release, whose processes take the queues again; returns which."""
    lowered = list(formats_ahead(formats))
    now = database_now()
    for queue in lowered:
        WorkFormat.objects.filter(queue=queue).update(format=formats.get(queue, 1), release=version, since=now)
    SchemaRelease.objects.create(
        version=version, entered_at=now, by=by, formats={name: one for name, one in formats.items() if one > 1}
    )
    return lowered
