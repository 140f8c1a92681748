"""The door before Django: the same answers as the view, for everybody that may and may not send."""

import gzip
import io
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from accounts.data import Capability, Role
from accounts.models import ApiToken, User
from accounts.selectors import live_token, principal_for_token, standing_of_token
from accounts.services import create_api_token, create_user, grant_role
from core.clock import database_now
from core.limiting import RateLimit
from reliability.models import SLO, SLOVersion
from reliability.services import door, otlp_answering
from reliability.services.door import with_otlp_door
from tests.reliability.conftest import SITE, TTFT, apply
from tests.reliability.test_otlp import counted, export, post

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _the_tests_transaction_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's end closes a connection that stands in a transaction, as that of a test does."""
    monkeypatch.setattr(door, "close_old_connections", lambda: None)


@pytest.fixture
def token(db: None) -> str:
    user = create_user(principal=SITE, username="collector", password=None)
    grant_role(principal=SITE, user=user, role=Role.RESPONDER)
    return create_api_token(principal=SITE, owner=user, name="otlp", scopes=[Capability.TELEMETRY_INGEST])[1]


def knock(body: bytes, token: str, path: str = "/v1/metrics", **more: str) -> tuple[int, bytes, dict[str, str]]:
    """Ask the door and return status, body and headers; 299 is Django behind it."""
    seen: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        seen["status"], seen["headers"] = int(status.split(maxsplit=1)[0]), dict(headers)

    def behind(_: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("299 Behind", [])
        return []

    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/x-protobuf",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.input": io.BytesIO(body),
        **more,
    }
    found = b"".join(with_otlp_door(behind)(environ, start_response))
    return seen["status"], found, seen["headers"]


def points(*, seconds: int = 5, counts: tuple[int, int] = (3, 1)) -> bytes:
    now = time.time()
    return bytes(export((now, now + seconds, list(counts))).SerializeToString())


def test_what_it_answers_with_200_is_counted(version: SLOVersion, token: str) -> None:
    body = points()
    status, said, headers = knock(body, token)
    assert (status, said) == (200, b"")
    assert headers["Content-Type"] == "application/x-protobuf"
    assert knock(gzip.compress(body), token, HTTP_CONTENT_ENCODING="gzip")[0] == 200
    assert counted(version) == (3, 1)


@pytest.mark.parametrize("body", [points(), points(seconds=86_400), b"\xff\xff"])
@pytest.mark.parametrize("secret", ["good", "wrong"])
def test_it_answers_as_the_view_does(version: SLOVersion, client: Client, token: str, body: bytes, secret: str) -> None:
    sent = token if secret == "good" else "asy_wrong"
    status, said, headers = knock(body, sent)
    answer = post(client, body, sent)
    assert (status, said, headers["Content-Type"]) == (answer.status_code, answer.content, answer["Content-Type"])
    assert headers.get("WWW-Authenticate") == answer.headers.get("WWW-Authenticate")


def test_it_says_what_it_refused(version: SLOVersion, token: str) -> None:
    status, said, _ = knock(points(seconds=86_400), token)
    assert status == 200
    assert ExportMetricsServiceResponse.FromString(said).partial_success.rejected_data_points == 1


def test_what_is_not_for_it_goes_on_to_django(token: str) -> None:
    assert knock(b"", token, REQUEST_METHOD="GET")[0] == 299
    assert knock(b"", token, path="/v1/logs")[0] == 299
    assert knock(b"", token, CONTENT_LENGTH="")[0] == 299
    assert knock(b"", token, CONTENT_LENGTH=str(9 * 1024 * 1024))[0] == 299


def test_a_database_that_fails_is_told_to_the_sender(
    version: SLOVersion, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(otlp_answering, "receive_metrics", fail)
    status, _, headers = knock(points(), token)
    assert (status, headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("change", ["none", "revoked", "expired", "inactive", "unscoped", "roleless"])
def test_the_plain_statement_says_what_the_principal_of_the_token_says(token: str, change: str) -> None:
    now = database_now()
    changes: dict[str, Callable[[], object]] = {
        "none": lambda: None,
        "revoked": lambda: ApiToken.objects.update(revoked_at=now),
        "expired": lambda: ApiToken.objects.update(expires_at=now),
        "inactive": lambda: User.objects.update(is_active=False),
        "unscoped": lambda: ApiToken.objects.update(scopes=[Capability.SLO_EDIT]),
        "roleless": lambda: User.objects.get(username="collector").grants.all().delete(),
    }
    changes[change]()
    known = live_token(secret=token, now=now)
    standing = standing_of_token(secret=token, capability=Capability.TELEMETRY_INGEST, now=now)
    assert (standing is None) == (known is None)
    if known is not None and standing is not None:
        may = principal_for_token(token=known).may_somewhere(Capability.TELEMETRY_INGEST)
        assert (standing.pk, standing.name, standing.may) == (known.pk, known.name, may)


def test_the_use_of_a_token_is_noted_once_a_minute(version: SLOVersion, token: str) -> None:
    knock(points(), token)
    first = ApiToken.objects.get().last_used_at
    knock(points(), token)
    assert first is not None
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    knock(points(), token)
    noted = ApiToken.objects.get().last_used_at
    assert noted is not None
    assert noted >= first


def test_a_definition_that_comes_into_force_or_ends_is_counted_by_from_the_next_request(
    version: SLOVersion, token: str
) -> None:
    now = time.time()

    def send(seconds: int, *counts: int) -> None:
        assert knock(export((now, now + seconds, list(counts))).SerializeToString(), token)[:2] == (200, b"")

    send(5, 3, 1)
    apply(TTFT.replace("gateway-ttft", "gateway-other"))
    other = SLO.objects.get(slug="gateway-other").versions.get()
    send(6, 5, 2)
    assert counted(other) == (2, 1)
    apply(TTFT.replace("metric: ttft", "metric: other"))
    send(7, 9, 9)
    assert counted(other) == (6, 8)
    assert counted(version) == (5, 2)


def test_a_token_that_sends_too_often_is_asked_to_send_again_later(
    version: SLOVersion, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliability.services.otlp_answering.EXPORTS", RateLimit(0.1))
    assert knock(points(), token)[0] == 200
    status, body, headers = knock(points(seconds=10), token)
    assert status == 503
    assert int(headers["Retry-After"]) in range(1, 11)
    assert b"more than 0.1 requests a second" in body


def test_a_body_in_pieces_is_counted_too(version: SLOVersion, token: str) -> None:
    status, _, _ = knock(points(), token, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    assert status == 200
    assert knock(points(), token, CONTENT_LENGTH="")[0] == 299
