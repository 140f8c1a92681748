"""What the gauges of threshold metrics reached, day by day."""

from django.db import models


class GaugeDay(models.Model):
    """How near to its threshold a gauge came on a day (UTC): the value that 95 % of its readings kept within."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="gauge_days")
    day = models.DateField()
    peak = models.FloatField()

    class Meta:
        ordering = ("version", "day")
        constraints = (models.UniqueConstraint(fields=("version", "day"), name="one_gauge_day_per_version"),)

    def __str__(self) -> str:
        return f"{self.version} {self.day}: {self.peak}"
