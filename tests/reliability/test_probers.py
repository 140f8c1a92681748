"""Probers of locations: who probes, what a location without one leaves behind, and what a kill costs."""

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from accounts.data import Role
from accounts.models import User
from accounts.services import create_user, grant_role
from core import beats
from core.clock import database_now
from core.parsing import InputRefusedError
from core.releases import enter_release, return_to_release
from core.work import drain, queue_formats
from drivers.services.site_health import site_health
from reliability.domain.budgets import Counts
from reliability.models import SLO, LocationProbe, Probe
from reliability.selectors import detailed_statuses
from reliability.services import LOCATION_WORK, Prober, count_unprobed
from tests.forking import drop_database, fork, make_database, make_tables
from tests.reliability.conftest import SITE, apply, minutes_of

SLO_YAML = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: front-door}
spec:
  service: gateway
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.99}]
  indicator:
    metadata: {name: front-door}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: probe, spec: {http: "URL", every: 10s, timeout: 2s, within: 2s, locations: WHERE}}}
        total: {metricSource: {type: probe, spec: {http: "URL", every: 10s, timeout: 2s, locations: WHERE}}}
"""


class Target(BaseHTTPRequestHandler):
    hits: Counter[str]
    pause = 0.0

    def do_GET(self) -> None:
        self.hits[self.path] += 1
        time.sleep(self.pause)
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def target() -> Iterator[tuple[str, type[Target]]]:
    handler = type("Handler", (Target,), {"hits": Counter()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


def declared(url: str, *locations: str, name: str = "front-door") -> str:
    return SLO_YAML.replace("URL", url).replace("WHERE", json.dumps(locations)).replace("front-door", name)


class Once(threading.Event):
    """A stop that comes when a prober first finds nothing to do."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


@pytest.mark.integration
@pytest.mark.django_db
def test_a_location_without_a_prober_is_unknown_and_the_others_count(
    catalog: None, target: tuple[str, type[Target]], client: Client
) -> None:
    url, handler = target
    apply(declared(url, "eu", "us"))
    version = SLO.objects.get().versions.get()
    eu, us = LocationProbe.objects.order_by("location")
    assert not Probe.objects.exists()
    assert us.begins_at - eu.begins_at == timedelta(seconds=5)
    begin = eu.begins_at
    for seconds in range(1, 122, 10):
        with time_machine.travel(begin + timedelta(seconds=seconds), tick=False):
            assert drain("reliability.probe") == 0
            Prober("eu", Once()).run()
    with time_machine.travel(begin + timedelta(seconds=125), tick=False):
        assert count_unprobed() == 6  # up to a minute ago: later ones may still be run
        assert count_unprobed() == 0
        counts = sum((one for _, one in minutes_of(version)), Counts())
        assert (counts.good, counts.bad, counts.unknown, counts.unknown_low) == (13, 0, 6, 6)
        (status,) = detailed_statuses([SLO.objects.get()], now=database_now())
        assert status.data_state == "NO PROBER"
        assert "us: no prober runs its turns" in status.data_detail
        assert status.sli is not None
        assert (status.sli.low, status.sli.high) == (13 / 19, 1.0)
        create_user(principal=SITE, username="vic", password=None)
        grant_role(principal=SITE, user=User.objects.get(username="vic"), role=Role.VIEWER)
        client.force_login(User.objects.get(username="vic"))
        page = client.get("/slos/front-door/").content.decode()
        assert "Where it is probed from" in page
        assert "0 good, 0 bad, 6 turns not run" in page
        # A prober that comes goes on from here; what it finds undone is unknown too.
        Prober("us", Once()).run()
    us.refresh_from_db()
    assert (us.good, us.missed, us.state) == (1, 12, "OK")
    counts = sum((one for _, one in minutes_of(version)), Counts())
    assert (counts.good, counts.unknown) == (14, 12)
    assert sum(handler.hits.values()) == 14


@pytest.mark.django_db
def test_system_health_misses_the_prober_of_a_location(catalog: None, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(declared("https://gateway.example", "eu", "us"))
    monkeypatch.setattr(beats, "_last", {})
    beats.beat("prober", location="eu")
    health = site_health(principal=SITE)
    said = [one.says for one in health.problems if "prober" in one.says]
    assert len(said) == 1
    assert "location us" in said[0]
    assert [one["location"] for one in health.processes if one["kind"] == "prober"] == ["eu"]


@pytest.mark.database
@pytest.mark.integration
@pytest.mark.django_db
def test_a_prober_of_an_old_release_leaves_new_work(catalog: None, target: tuple[str, type[Target]]) -> None:
    apply(declared(target[0], "eu"))
    assert queue_formats()[LOCATION_WORK] == 1
    begin = database_now() - timedelta(seconds=125)
    LocationProbe.objects.update(begins_at=begin, due_at=begin)
    enter_release(version="9.9.9", formats={LOCATION_WORK: 2}, by="test")
    Prober("eu", Once()).run()
    assert count_unprobed() == 0
    assert not target[1].hits
    row = LocationProbe.objects.get()
    assert (row.fence, row.missed) == (0, 0)
    return_to_release(version="0.1.0", formats=queue_formats(), by="test")
    assert count_unprobed() == 6
    Prober("eu", Once()).run()
    assert target[1].hits == {"/": 1}
    row.refresh_from_db()
    assert (row.good, row.missed) == (1, 12)


@pytest.mark.django_db
def test_a_name_that_is_none_is_refused_and_none_is_as_before(catalog: None) -> None:
    for names in (["EU West"], ["eu", "eu"], [""]):
        with pytest.raises(InputRefusedError, match="locations are names as eu-west"):
            apply(declared("https://gateway.example", *names))
    with pytest.raises(CommandError):
        call_command("prober", "--location", "EU West")
    apply(declared("https://gateway.example"))
    assert "locations" not in SLO.objects.get().versions.get().indicator["total"]
    assert Probe.objects.exists()
    apply(declared("https://gateway.example", "eu"))
    assert not Probe.objects.exists()
    apply(declared("https://gateway.example", name="other"))
    assert LocationProbe.objects.count() == 1


# --- processes


SEED = """
import sys
from accounts.data import system_principal
from catalog.services import apply_documents as apply_catalog
from core.parsing import load_yaml_documents
from reliability.services import apply_documents
from tests.reliability.conftest import CATALOG
me = system_principal("test")
apply_catalog(principal=me, documents=load_yaml_documents(CATALOG, source="catalog.yaml"))
slos = load_yaml_documents(sys.stdin.read(), source="slo.yaml")
apply_documents(principal=me, documents=slos, source="slo.yaml")
"""
LOOK = """
import json
from core.beats import ProcessBeat
from reliability.models import LocationProbe
from reliability.selectors.tallies import tally_minutes
rows = []
for row in LocationProbe.objects.select_related("version__slo"):
    spec = row.version.indicator["total"]
    minutes = tally_minutes(row.version_id, start_minute=0, end_minute=2**26)
    rows.append({
        "slo": row.version.slo.slug, "good": row.good, "bad": row.bad, "missed": row.missed,
        "turns": round((row.due_at - row.begins_at).total_seconds() / spec["every_seconds"]),
        "counted": [sum(getattr(one, name) for _, one in minutes) for name in ("good", "bad", "unknown")],
        "free": row.lease_until is None,
    })
print(json.dumps({"rows": rows, "probers": ProcessBeat.objects.filter(kind="prober", location="eu").count()}))
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A site with a database of its own on the engine at hand."""
    url = ""
    if connection.vendor == "sqlite":
        make_tables(tmp_path)
    else:
        url = make_database(os.environ["DATABASE_URL"])
    yield {**os.environ, "DATABASE_URL": url, "ASSAY_STATE_DIR": str(tmp_path)}
    if url:
        drop_database(url)


@pytest.mark.database
@pytest.mark.integration
def test_two_probers_share_a_location_and_a_killed_one_costs_no_turn(
    environment: dict[str, str], target: tuple[str, type[Target]]
) -> None:
    url, handler = target
    slos = [f"slo-{number}" for number in range(4)]
    documents = [declared(f"{url}/{name}", "eu", name=name).replace("every: 10s", "every: 2s") for name in slos]
    seeding = fork("-c", SEED, environment=environment, stdin=subprocess.PIPE)
    assert seeding.stdin is not None
    seeding.stdin.write("\n---\n".join(documents))
    seeding.communicate()
    assert seeding.returncode == 0

    def look() -> dict[str, Any]:
        asked = fork("-c", LOOK, environment=environment, stdout=subprocess.PIPE)
        answer: dict[str, Any] = json.loads(asked.communicate()[0])
        return answer

    def wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, (handler.hits, look())
            time.sleep(0.1)

    def each_was_hit(more: int) -> None:
        before = dict(handler.hits)
        wait_for(lambda: all(handler.hits[f"/{name}"] >= before.get(f"/{name}", 0) + more for name in slos))

    probers = [fork("manage.py", "prober", "--location", "eu", environment=environment) for _ in range(2)]
    try:
        wait_for(lambda: look()["probers"] == 2)
        each_was_hit(3)
        # Every answer now takes a while, so that a prober is killed in the midst of turns.
        handler.pause = 1.0
        each_was_hit(1)
        probers[0].kill()
        handler.pause = 0.0
        each_was_hit(3)
        probers[1].terminate()
        assert probers[1].wait(60) == 0
    finally:
        for one in probers:
            one.kill()
    found = look()
    assert len(found["rows"]) == 4
    left = 0
    for row in found["rows"]:
        # Every turn of the grid was counted once: as what it was, or as unknown where nobody could run it in time.
        assert row["good"] + row["bad"] + row["missed"] == row["turns"], row
        assert row["counted"] == [row["good"], row["bad"], row["missed"]], row
        assert row["free"], "a stopped prober keeps no claim"
        left += handler.hits[f"/{row['slo']}"] - row["good"] - row["bad"]
    # Only what the killed one had sent and could not count was sent again.
    assert 0 <= left <= 4
