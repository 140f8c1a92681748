"""Reads of SLOs."""

from reliability.selectors.budgets import (
    budget_status,
    budget_statuses,
    burn_rates,
    firing_burn_alerts,
    services_budget_state,
    slo_by_slug,
    slos_for_service,
    slos_visible,
    status_as_json,
    version_in_force,
    versions_of,
)
from reliability.selectors.tallies import (
    alert_counts,
    bucket_sums,
    counts_between,
    counts_in_last,
    last_measured_minutes,
    minute_of,
    minute_series,
    sums_before,
    was_measured_recently,
)

__all__ = [
    "alert_counts",
    "bucket_sums",
    "budget_status",
    "budget_statuses",
    "burn_rates",
    "counts_between",
    "counts_in_last",
    "firing_burn_alerts",
    "last_measured_minutes",
    "minute_of",
    "minute_series",
    "services_budget_state",
    "slo_by_slug",
    "slos_for_service",
    "slos_visible",
    "status_as_json",
    "sums_before",
    "version_in_force",
    "versions_of",
    "was_measured_recently",
]
