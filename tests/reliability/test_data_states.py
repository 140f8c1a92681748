"""What can go wrong with reading has a name, on the SLO's page and in `slo status`; what was counted stays."""

import time
from typing import Any

import pytest
from django.test import Client

from accounts.data import Role
from accounts.models import User
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.data import DataState
from reliability.domain.budgets import Counts
from reliability.models import Collection, SLOVersion
from reliability.selectors import counts_in_last, minute_of
from reliability.services import receive_metrics
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, apply
from tests.reliability.test_otlp import export
from tests.reliability.test_pages_and_commands import run
from tests.reliability.test_probes import SLO_YAML as PROBES
from tests.reliability.test_prometheus import SLO_YAML

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(db: None) -> Client:
    user: User = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=user, role=Role.VIEWER)
    client = Client()
    client.force_login(user)
    return client


def status_of(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    _, (found, *_) = run("status", name, "--format", "json", capsys=capsys)
    return dict(found)


@pytest.mark.parametrize("state", [one for one in DataState if one not in {DataState.OK, DataState.BACKFILLING}])
def test_each_state_is_on_the_page_and_in_the_status(
    catalog: None, client: Client, capsys: pytest.CaptureFixture[str], state: DataState
) -> None:
    apply(SLO_YAML.replace("URL", "http://127.0.0.1:9"))
    version = SLOVersion.objects.get()
    add_to_tallies({(version.pk, minute_of(database_now())): Counts(good=9, bad=1)})
    Collection.objects.update(state=state.value, last_error="what exactly went wrong", failures=3)
    shown = status_of("requests", capsys)
    assert (shown["data_state"], shown["data_detail"]) == (state.value, "what exactly went wrong")
    assert (shown["good"], shown["bad"]) == (9, 1)
    page = client.get("/slos/requests/").content.decode()
    assert state.value.lower() in page.lower()
    assert "what exactly went wrong" in page


def test_what_was_refused_of_pushed_events_is_on_the_page_and_in_the_status(
    version: SLOVersion, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    receive_metrics(export((now - 5, now, [3, 1]), (now - 5, now, [4, 1])))
    shown = status_of("gateway-ttft", capsys)
    assert (shown["data_state"], shown["good"], shown["mode"]) == ("CONFLICT", 3, "pushed")
    page = client.get("/slos/gateway-ttft/").content.decode()
    assert "a repeated point with another value" in page
    assert counts_in_last(version=version, minutes=5, now=database_now()).total == 4


def test_a_probe_is_described_on_the_page_of_a_minute(catalog: None, client: Client) -> None:
    apply(PROBES.replace("URL", "http://127.0.0.1:9/"))
    version = SLOVersion.objects.get()
    minute = minute_of(database_now())
    add_to_tallies({(version.pk, minute): Counts(good=1)})
    page = client.get(f"/slos/front-door/minutes/{minute}/").content.decode()
    assert "every 10 s, timeout 2 s" in page
