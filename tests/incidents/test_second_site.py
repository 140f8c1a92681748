"""One site watches another: the word of the first is a heartbeat of the second, and its silence an alert there."""

from datetime import timedelta

import pytest
from pytest_django.live_server_helper import LiveServer

from core.clock import database_now
from core.work import drain, drain_all
from delivery.services import save_outside_watch
from incidents.data import IntegrationKind
from incidents.models import Alert, Integration
from incidents.services import add_integration, watch_heartbeats
from tests.incidents.conftest import ADMIN


@pytest.mark.integration
@pytest.mark.django_db(transaction=True)
def test_the_second_site_hears_the_first_and_misses_it(live_server: LiveServer) -> None:
    new = add_integration(
        principal=ADMIN, slug="first-site", kind=IntegrationKind.HEARTBEAT, heartbeat_every=timedelta(minutes=1)
    )
    long_ago = database_now() - timedelta(hours=1)
    Integration.objects.update(last_beat_at=long_ago)
    save_outside_watch(
        principal=ADMIN,
        slug="second-site",
        url=f"{live_server.url}/inbound/heartbeat/{new.token}",
        every=timedelta(minutes=1),
        allow=["127.0.0.1", "localhost"],
    )
    drain("delivery.outside")
    drain_all()
    heard = Integration.objects.get(slug="first-site").last_beat_at
    assert heard is not None
    assert heard > long_ago + timedelta(minutes=50)
    assert watch_heartbeats() == 0
    Integration.objects.update(last_beat_at=long_ago)
    assert watch_heartbeats() == 1
    drain_all()
    assert Alert.objects.get().labels["alertname"] == "HeartbeatMissed"
