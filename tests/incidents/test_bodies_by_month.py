"""What senders sent lies apart from the events; on PostgreSQL it goes by month, when no event leads to it any more."""

import importlib
import threading
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from catalog.selectors import service_by_slug
from core.partition_ranges import following, month_at, month_of
from core.partitions import open_months, parts
from core.work import drain_all, queue_formats
from custody.services import remove_old_data, request_hold, set_retention
from incidents.models import Alert, InboundBody, InboundEvent, Integration
from incidents.services import InboundRequest, receive
from incidents.services.integrations import INBOUND_QUEUE, SPILL_QUEUE
from incidents.services.outliving import BODIES
from incidents.services.receiving import receive_many
from ledger.models import LedgerEntry
from tests.engines import by_month
from tests.incidents.conftest import World, an_alert

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ADMIN = system_principal("test")


def body(name: str) -> bytes:
    alerts = [an_alert(name)]
    return orjson.dumps({"version": "4", "groupKey": name, "status": "firing", "receiver": "x", "alerts": alerts})


def request(world: World, name: str) -> InboundRequest:
    return InboundRequest("alertmanager", (world.token,), "POST", body(name), {"user-agent": "test"})


def stored(world: World, *names: str, age: timedelta = timedelta(0)) -> list[InboundEvent]:
    """Store an event for each name, worked off `age` ago; bodies lie in the part of numbers from before months."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('incidents_inboundevent_id_seq', 1000)")
    answers = [receive(request(world, name)) for name in names]
    events = InboundEvent.objects.filter(reference__in=[one.reference for one in answers])
    at = timezone.now() - age
    if age:
        events.update(received_at=at, finished_at=at)
    return list(events.order_by("pk"))


def test_the_bytes_are_a_row_of_their_own_and_a_repeat_has_none(world: World) -> None:
    first = receive(request(world, "one"))
    assert receive(request(world, "one")) == first
    event = InboundEvent.objects.get()
    assert (bytes(event.body), event.headers, event.duplicates) == (b"", {}, 1)
    assert (bytes(event.stored.body), event.stored.headers) == (body("one"), {"user-agent": "test"})
    assert InboundBody.objects.count() == 1
    drain_all()
    assert Alert.objects.get().title


def test_an_event_of_the_release_before_is_read_where_that_stored_it(world: World, client: Client) -> None:
    now = timezone.now()
    InboundEvent.objects.create(
        reference="in_older", integration=Integration.objects.get(slug="prometheus"), idempotency_key="older",
        received_at=now, due_at=now, method="POST", headers={"user-agent": "older"}, body=body("older"),
    )  # fmt: skip
    receive(request(world, "newer"))
    drain_all()
    assert set(Alert.objects.values_list("labels__alertname", flat=True)) == {"older", "newer"}
    client.force_login(world.ada)
    for one in InboundEvent.objects.all():
        page = client.get(f"/alerts/events/{one.reference}/").content.decode()
        name = one.alerts.get().labels["alertname"]
        assert name in page
        assert "groupKey" in page
        assert "user-agent" in page
    formats = queue_formats()
    assert {formats[INBOUND_QUEUE], formats[SPILL_QUEUE]} == {2}, "a worker of the release before would find no bytes"


def test_the_way_back_brings_the_bytes_back(world: World) -> None:
    receive(request(world, "one"))
    migration = importlib.import_module("incidents.migrations.0009_inbound_bodies")
    migration.bring_back(None, connection.schema_editor(collect_sql=False))
    event = InboundEvent.objects.get()
    assert (bytes(event.body), event.headers) == (body("one"), {"user-agent": "test"})


def test_bytes_go_with_their_event_or_with_its_month(world: World) -> None:
    old = stored(world, "a", "b", age=timedelta(days=100))
    open_months(BODIES, now=timezone.now())
    young = receive(request(world, "c"))
    remove_old_data()
    assert [one.reference for one in InboundEvent.objects.all()] == [young.reference]
    assert [bytes(one.body) for one in InboundBody.objects.all()][-1] == body("c")
    # On PostgreSQL events go first, and at the next turn the month that has none left.
    remove_old_data()
    assert [bytes(one.body) for one in InboundBody.objects.all()] == [body("c")]
    said = [one.payload or {} for one in LedgerEntry.objects.filter(entry_type="data.removed")]
    assert next(one["count"] for one in said if one["data_class"] == "incidents.inbound") == len(old)
    drain_all()
    assert Alert.objects.get().labels["alertname"] == "c"


def test_with_a_short_rule_bytes_do_not_wait_for_their_month(world: World) -> None:
    set_retention(principal=ADMIN, key="incidents.inbound", keep_days=30, reason="policy 4")
    stored(world, "a", age=timedelta(days=40))
    remove_old_data()
    assert (InboundEvent.objects.count(), InboundBody.objects.count()) == (0, 0)


@by_month
def test_a_hold_on_one_event_keeps_its_whole_month(world: World) -> None:
    held, free = stored(world, "held", "free", age=timedelta(days=100))
    open_months(BODIES, now=timezone.now())
    at = timezone.now() - timedelta(days=100)
    Alert.objects.create(
        integration=held.integration, fingerprint="x", episode_at=at, status="resolved", title="x", starts_at=at,
        resolved_at=at, first_received_at=at, last_received_at=at, decision="x", event=held,
        service=service_by_slug(slug="gateway"),
    )  # fmt: skip
    hold = request_hold(principal=ADMIN, kind="service", target="gateway", reason="case 7")
    for _ in range(2):
        remove_old_data()
    assert list(InboundEvent.objects.all()) == [held]
    assert InboundBody.objects.filter(pk__in=[held.pk, free.pk]).count() == 2
    hold.delete()
    for _ in range(2):
        remove_old_data()
    assert (InboundEvent.objects.count(), InboundBody.objects.count()) == (0, 0)


@by_month
@pytest.mark.django_db(transaction=True)
def test_senders_lose_nothing_while_months_turn(world: World) -> None:
    answered: list[str] = []
    over = threading.Event()
    failed: list[BaseException] = []

    def send(name: str) -> None:
        number = 0
        try:
            while not over.is_set():
                number += 1
                found = receive_many([request(world, f"{name}-{number}-{one}") for one in range(5)])
                answered.extend(one.reference for one in found if one is not None)
        except BaseException as error:  # noqa: BLE001 told to the test
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    turns = turning_points()
    for now in turns:
        for _ in range(60):
            try:
                open_months(BODIES, now=now)
                break
            except OperationalError:
                continue
    last = receive(request(world, "last"))
    over.set()
    for thread in threads:
        thread.join(60)
    assert failed == []
    events = {one.reference: one for one in InboundEvent.objects.select_related("stored")}
    assert set(answered) | {last.reference} == set(events)
    assert all(bytes(one.stored.body) for one in events.values())
    assert month_of(events[last.reference].pk) == month_at(turns[-1])
    assert not InboundBody.objects.filter(pk__gte=parts(BODIES)[-2].range[1]).exists(), "none lies in no month"


def turning_points() -> list[datetime]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM incidents_inboundevent_id_seq")
        reached = month_of(cursor.fetchone()[0])
    first = max(month_at(timezone.now()), reached or month_at(timezone.now()))
    return [datetime(one.year, one.month, 15, tzinfo=UTC) for one in (following(first, by) for by in range(1, 4))]
