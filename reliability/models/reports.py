"""Service-level reports of periods that have ended."""

from django.db import models


class ServiceReport(models.Model):
    """A service's report of a month or quarter, written once when it had ended; the files are in the ledger."""

    service = models.ForeignKey("catalog.Service", on_delete=models.CASCADE, related_name="level_reports")
    period = models.CharField(max_length=10, help_text="2026-03 or 2026-Q1.")
    created_at = models.DateTimeField()
    html_sha256 = models.CharField(max_length=64)
    pdf_sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ("-period", "service")
        constraints = (models.UniqueConstraint(fields=("service", "period"), name="one_report_per_service_and_period"),)

    def __str__(self) -> str:
        return f"{self.service} {self.period}"
