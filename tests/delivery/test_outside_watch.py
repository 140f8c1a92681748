"""Somebody outside hears that the site lives; a site that does not do its work stays silent."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from core.clock import database_now
from core.health import OVERDUE_LIMIT
from core.parsing import InputRefusedError
from core.work import drain
from delivery.data import Channel
from delivery.management.commands.delivery import ShellActor
from delivery.models import Delivery, OutsideWatch
from delivery.services import remove_outside_watch, save_outside_watch, send

MINUTE = timedelta(minutes=1)


class Listener(BaseHTTPRequestHandler):
    """Notes who asks, and answers as it is told."""

    heard: ClassVar[list[str]] = []
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        type(self).heard.append(self.path)
        self.send_response(type(self).status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[str]:
    Listener.heard, Listener.status = [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/ping/secret"
    server.shutdown()
    server.server_close()
    thread.join(10)


def _watch(url: str, every: timedelta = MINUTE) -> OutsideWatch:
    return save_outside_watch(principal=ShellActor(), slug="second", url=url, every=every, allow=["127.0.0.1"])


@pytest.mark.django_db
def test_the_word_goes_out_at_once_and_then_at_its_distance(listener: str) -> None:
    watch = _watch(listener)
    drain("delivery.outside")
    drain("delivery.outside")
    watch.refresh_from_db()
    assert Listener.heard == ["/ping/secret"]
    assert watch.last_word_at is not None
    assert timedelta(seconds=50) < watch.due_at - database_now() <= MINUTE


@pytest.mark.django_db
def test_a_word_that_did_not_arrive_is_tried_again_soon_and_its_address_is_told_nobody(listener: str) -> None:
    Listener.status = 503
    watch = _watch(listener, timedelta(hours=1))
    drain("delivery.outside")
    watch.refresh_from_db()
    assert watch.last_word_at is None
    assert watch.last_error == "it answered 503"
    assert watch.due_at - database_now() <= timedelta(seconds=10)
    watch = save_outside_watch(
        principal=ShellActor(), slug="second", url="http://127.0.0.1:1/secret", every=MINUTE, allow=["127.0.0.1"]
    )
    drain("delivery.outside")
    watch.refresh_from_db()
    assert watch.last_error
    assert "secret" not in watch.last_error


@pytest.mark.django_db
def test_a_site_whose_urgent_work_is_late_stays_silent(listener: str) -> None:
    watch = _watch(listener)
    send(channel=Channel.EMAIL, address="a@example.org", idempotency_key="k", subject="s", text="t", priority=1)
    Delivery.objects.update(due_at=database_now() - OVERDUE_LIMIT - MINUTE)
    drain("delivery.outside")
    watch.refresh_from_db()
    assert Listener.heard == []
    assert watch.last_error.startswith("withheld: delivery.urgent is")
    Delivery.objects.all().delete()
    OutsideWatch.objects.update(due_at=database_now())
    drain("delivery.outside")
    assert Listener.heard == ["/ping/secret"]


@pytest.mark.django_db
def test_what_is_no_address_or_too_often_is_refused() -> None:
    for url, every in (("ftp://example.org/", MINUTE), ("https://example.org/", timedelta(seconds=1))):
        with pytest.raises(InputRefusedError):
            _watch(url, every)


@pytest.mark.django_db
def test_it_is_told_no_more_once_removed(listener: str) -> None:
    _watch(listener)
    assert remove_outside_watch(principal=ShellActor(), slug="second")
    assert drain("delivery.outside") == 0
    assert Listener.heard == []
