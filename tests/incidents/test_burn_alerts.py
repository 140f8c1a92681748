"""The site's own burn-rate alerts come in by the common path."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.events import publish
from core.work import drain_all
from incidents.models import Alert, InboundEvent, Incident
from reliability.events import BurnAlertFired, BurnAlertResolved
from tests.incidents.conftest import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

FIRED_AT = datetime(2026, 11, 21, 1, tzinfo=UTC)
WHAT: dict[str, Any] = {
    "slo_slug": "gateway-ttft",
    "service_slug": "gateway",
    "policy": "demo",
    "severity": "page",
    "fired_at": FIRED_AT,
    "alert_key": "burn:gateway-ttft:demo:1",
}


def fire() -> None:
    publish(
        BurnAlertFired(
            **WHAT,
            long_window_seconds=60,
            short_window_seconds=15,
            burn_rate_long=20.5,
            burn_rate_short=31,
            threshold=14.4,
        )
    )
    drain_all()


def test_a_burn_alert_is_stored_routed_and_opens_an_incident(world: World) -> None:
    fire()
    alert = Alert.objects.get()
    assert (alert.integration.slug, alert.labels["slo"], alert.starts_at) == (
        "slo-burn-alerts",
        "gateway-ttft",
        FIRED_AT,
    )
    assert alert.annotations["description"].startswith("Burn rate 20.5 over 60 s and 31.0 over 15 s")
    assert Incident.objects.get().impact_started_at == FIRED_AT
    assert InboundEvent.objects.count() == 1


def test_its_end_resolves_the_alert_and_starts_the_quiet_period(world: World) -> None:
    fire()
    publish(BurnAlertResolved(**WHAT, resolved_at=FIRED_AT + timedelta(minutes=3)))
    drain_all()
    alert = Alert.objects.get()
    assert (alert.status, alert.resolved_at) == ("resolved", FIRED_AT + timedelta(minutes=3))
    assert Incident.objects.get().quiet_since is not None
