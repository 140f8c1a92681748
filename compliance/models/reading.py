"""How far the log was read, and what happened on which day."""

from django.db import models


class LogReading(models.Model):
    """How far the checks have read the log: one row, held by the run that reads on."""

    read_seq = models.PositiveBigIntegerField(default=0, help_text="Entries before this place are in the sums by day.")
    last_entry = models.PositiveBigIntegerField(default=0, help_text="The highest key of an entry in the sums.")
    cards_seq = models.PositiveBigIntegerField(default=0, help_text="Entries before it are in the scorecards.")
    cards_digest = models.CharField(max_length=64, blank=True, help_text="Of the scorecard that they were read for.")
    read_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"read up to {self.read_seq}"


class EntryDay(models.Model):
    """How many entries of a kind happened on a day (UTC), and when the first and the last of them."""

    entry_type = models.CharField(max_length=80)
    day = models.DateField()
    entries = models.PositiveBigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        ordering = ("entry_type", "day")
        constraints = (models.UniqueConstraint(fields=("entry_type", "day"), name="one_day_of_a_kind"),)

    def __str__(self) -> str:
        return f"{self.entry_type} {self.day}: {self.entries}"


class ScorecardMark(models.Model):
    """The entries that decide an item of a service's scorecard: the newest one, and the newest that shows it."""

    item = models.CharField(max_length=60)
    service = models.CharField(max_length=63)
    newest_entry = models.PositiveBigIntegerField()
    newest_at = models.DateTimeField()
    shown_entry = models.PositiveBigIntegerField(null=True)
    shown_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("service", "item")
        constraints = (models.UniqueConstraint(fields=("item", "service"), name="one_mark_per_item_and_service"),)

    def __str__(self) -> str:
        return f"{self.service} {self.item}"
