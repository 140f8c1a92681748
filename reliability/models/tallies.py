"""What was counted.

A tally is what one SLO version, or one group of its events, counted. A hundred tallies share a *shelf*; the sums of a
shelf at one minute are one packed row, so that ten thousand SLOs cost a hundred rows a minute.
"""

from django.db import models

from reliability.domain.sheets import PLACES

KEY_BASE = 2**32
MINUTE_OF_KEY = KEY_BASE - 1


class TallySlot(models.Model):
    """Where a tally is kept: its number says the shelf and the place on it."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="slots")
    labels = models.JSONField(default=dict, blank=True, help_text="Of a group; empty for all events of the version.")
    digest = models.CharField(max_length=32, blank=True, help_text="Of the labels; empty without.")

    class Meta:
        ordering = ("pk",)
        constraints = (models.UniqueConstraint(fields=("version", "digest"), name="one_slot_per_tally"),)

    def __str__(self) -> str:
        return f"shelf {self.pk // PLACES}, place {self.pk % PLACES}"


class TallyShelf(models.Model):
    """A hundred tallies. Its row is what a writer locks."""

    number = models.PositiveBigIntegerField(primary_key=True)
    last_measured = models.BinaryField(help_text="The last measured minute of each place.")

    class Meta:
        ordering = ("number",)
        verbose_name_plural = "tally shelves"

    def __str__(self) -> str:
        return f"shelf {self.number}"


class TallyBlock(models.Model):
    """A shelf's sums since the day began, up to and including a minute.

    `key` is shelf * 2^32 + minute since 1970. A row exists for each minute in which anything of the shelf was measured.
    On PostgreSQL kept by month of the minute: a statement that says the minute beside the key asks one part only.
    """

    key = models.PositiveBigIntegerField(primary_key=True)
    body = models.BinaryField()

    class Meta:
        ordering = ("key",)
        # Not its model's name: the table of that name is a part of this one, for processes of the release before.
        db_table = "reliability_tallyminute"

    def __str__(self) -> str:
        return f"shelf {self.key // KEY_BASE}, minute {self.key % KEY_BASE}"


class TallyEdge(models.Model):
    """A block that outlives its month: the last before an hour ended, or before something that is bounded there."""

    key = models.PositiveBigIntegerField(primary_key=True)
    body = models.BinaryField()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return f"shelf {self.key // KEY_BASE}, minute {self.key % KEY_BASE}"


class TallyDay(models.Model):
    """A shelf's sums before a day began; `key` is shelf * 2^32 + day since 1970. Kept for ever."""

    class Form(models.IntegerChoices):
        """How the day's minutes are stored: in blocks; in packs by tally too; or but for edges no more.

        The edges of a thinned day are its only blocks. Where blocks go by month they lie in a table of their own.
        """

        BLOCKS = 0
        PACKED = 1
        THINNED = 2
        EDGES = 3

    key = models.PositiveBigIntegerField(primary_key=True)
    body = models.BinaryField()
    form = models.PositiveSmallIntegerField(choices=Form.choices, default=Form.BLOCKS)

    class Meta:
        ordering = ("key",)
        indexes = (models.Index(fields=("key",), name="days_to_pack", condition=models.Q(form=0)),)

    def __str__(self) -> str:
        return f"shelf {self.key // KEY_BASE}, day {self.key % KEY_BASE}"


class TallyPack(models.Model):
    """One tally's minutes of one day, for reading long histories; `key` is slot * 2^32 + day since 1970."""

    key = models.PositiveBigIntegerField(primary_key=True)
    body = models.BinaryField()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return f"slot {self.key // KEY_BASE}, day {self.key % KEY_BASE}"


class KeptMinute(models.Model):
    """A minute whose sums outlive the ninety days because something is bounded by it, as an exclusion."""

    minute = models.PositiveIntegerField()
    reason = models.CharField(max_length=120)

    class Meta:
        ordering = ("minute", "reason")
        constraints = (models.UniqueConstraint(fields=("minute", "reason"), name="one_kept_minute_per_reason"),)

    def __str__(self) -> str:
        return f"{self.minute} {self.reason}"
