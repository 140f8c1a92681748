"""What was counted."""

from django.db import models


class Tally(models.Model):
    """Running sums of events up to and including a minute, so that any window is one subtraction.

    A row exists for each minute that was measured; `minutes_sum` counts them.
    """

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="tallies")
    minute = models.PositiveIntegerField(help_text="Minutes since 1970-01-01 UTC.")
    good_sum = models.PositiveBigIntegerField()
    bad_sum = models.PositiveBigIntegerField()
    unknown_sum = models.PositiveBigIntegerField()
    minutes_sum = models.PositiveIntegerField()

    class Meta:
        ordering = ("version", "minute")
        verbose_name_plural = "tallies"
        constraints = (models.UniqueConstraint(fields=("version", "minute"), name="one_tally_per_minute"),)

    def __str__(self) -> str:
        return f"{self.version_id} {self.minute}"
