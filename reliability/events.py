"""What reliability announces."""

from datetime import datetime
from typing import ClassVar

from core.events import DomainEvent


class BurnAlertFired(DomainEvent):
    """The burn rate of an SLO exceeds a tier's threshold in both windows; published once for each firing.

    `reason` is "no data" where the policy also alerts on missing measurements and that is why.
    """

    kind: ClassVar[str] = "slo.burn_alert_fired"
    slo_slug: str
    service_slug: str
    policy: str
    severity: str
    long_window_seconds: int
    short_window_seconds: int
    burn_rate_long: float
    burn_rate_short: float
    threshold: float
    fired_at: datetime
    alert_key: str
    reason: str = ""


class BurnAlertResolved(DomainEvent):
    """A firing has ended: the short window is below the threshold. Not published while measurements are missing."""

    kind: ClassVar[str] = "slo.burn_alert_resolved"
    slo_slug: str
    service_slug: str
    policy: str
    severity: str
    fired_at: datetime
    resolved_at: datetime
    alert_key: str
