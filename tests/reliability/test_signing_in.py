"""How a source is asked: who asks, what a deduplicating store is told, what is refused with a reason."""

import base64
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.clock import database_now
from reliability.data import DataState, SourceSettings
from reliability.models import Backfill, Collection, DataSource, SLOVersion
from reliability.selectors import data_statuses
from reliability.services import refresh
from reliability.services.prometheus import PrometheusReader, SourceError
from tests.reliability.conftest import apply, minutes_of
from tests.reliability.test_prometheus import SLO_YAML

pytestmark = [pytest.mark.integration, pytest.mark.django_db]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Store(BaseHTTPRequestHandler):
    """Answers each query with what `answers` says, and keeps what it was asked."""

    asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
    answers: dict[str, Any] = {}
    wants: dict[str, str] = {}

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        params = dict(urllib.parse.parse_qsl(query))
        self.asked.append((path, params, {key.lower(): value for key, value in self.headers.items()}))
        allowed = all(self.headers.get(key) == value for key, value in self.wants.items())
        body = self.answers.get(path) if path != "/api/v1/query" else self.answers.get("query") or self.answer(params)
        self.send_response(401 if not allowed else 200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(orjson.dumps(body if allowed else {"error": "who are you"}))

    @staticmethod
    def answer(params: dict[str, str]) -> Any:
        kind = "matrix" if params["query"].endswith("]") else "vector"
        return {"status": "success", "data": {"resultType": kind, "result": []}}

    def log_message(self, *_: Any) -> None:
        pass


def running(handler: type[Store], context: ssl.SSLContext | None = None) -> Iterator[tuple[str, type[Store]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    scheme, host = ("https", "localhost") if context is not None else ("http", "127.0.0.1")
    yield f"{scheme}://{host}:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def store() -> Iterator[tuple[str, type[Store]]]:
    yield from running(type("One", (Store,), {"asked": [], "answers": {}, "wants": {}}))


def source(url: str, **settings: Any) -> DataSource:
    stored = SourceSettings(**settings).as_stored()
    return DataSource.objects.create(slug="s", name="S", url=url, allow_private=True, stored_settings=stored)


BASIC = "Basic " + base64.b64encode(b"reader:pass").decode()


@pytest.mark.parametrize(
    ("settings", "wants"),
    [
        ({"bearer_token": "secret"}, {"Authorization": "Bearer secret"}),
        ({"username": "reader", "password": "pass"}, {"Authorization": BASIC}),
        ({"tenant": "team-a"}, {"X-Scope-OrgID": "team-a", "THANOS-TENANT": "team-a"}),
    ],
)
def test_a_source_that_wants_to_know_who_asks_is_told(
    store: tuple[str, type[Store]], settings: dict[str, str], wants: dict[str, str]
) -> None:
    url, handler = store
    handler.wants = wants
    known = source(url, flavour="prometheus", **settings)
    with PrometheusReader(known) as reader:
        assert reader.samples("up", until=NOON, length=timedelta(minutes=1)) == []
    known.stored_settings = SourceSettings(flavour="prometheus").as_stored()
    with PrometheusReader(known) as reader, pytest.raises(SourceError) as caught:
        reader.samples("up", until=NOON, length=timedelta(minutes=1))
    assert caught.value.state is DataState.NOT_ALLOWED


def certificate(name: str, folder: Path, signer: tuple[x509.Certificate, Any] | None = None) -> tuple[Any, Any]:
    """Make a certificate and its key, and write both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .sign(signer[1] if signer else key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


def test_a_source_behind_mutual_tls_is_read_with_the_certificate_alone(tmp_path: Path) -> None:
    authority = certificate("authority", tmp_path)
    certificate("server", tmp_path, authority)
    certificate("client", tmp_path, authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    text = {name: (tmp_path / name).read_text() for name in ("authority.pem", "client.pem", "client.key")}
    for url, _ in running(type("One", (Store,), {"asked": [], "answers": {}, "wants": {}}), context):
        known = source(
            url,
            flavour="prometheus",
            ca_certificate=text["authority.pem"],
            client_certificate=text["client.pem"],
            client_key=text["client.key"],
        )
        with PrometheusReader(known) as reader:
            assert reader.samples("up", until=NOON, length=timedelta(minutes=1)) == []
        known.stored_settings = SourceSettings(flavour="prometheus", ca_certificate=text["authority.pem"]).as_stored()
        with PrometheusReader(known) as reader, pytest.raises(SourceError):
            reader.samples("up", until=NOON, length=timedelta(minutes=1))


@pytest.mark.parametrize(
    ("answers", "flavour"),
    [
        (
            {"/api/v1/status/buildinfo": {"status": "success", "data": {"version": "2.45", "revision": "x"}}},
            "prometheus",
        ),
        ({"/api/v1/stores": {"status": "success", "data": {}}}, "thanos"),
        ({"/api/v1/status/buildinfo": {"status": "success", "data": {"application": "Grafana Mimir"}}}, "mimir"),
        ({"/api/v1/status/buildinfo": {"status": "success", "data": {"version": "2.24.0"}}}, "victoriametrics"),
    ],
)
def test_the_kind_of_store_is_found_out(store: tuple[str, type[Store]], answers: dict[str, Any], flavour: str) -> None:
    url, handler = store
    handler.answers = answers
    with PrometheusReader(source(url)) as reader:
        assert reader.find_flavour() == flavour


def test_thanos_is_asked_for_each_replica_and_for_no_partial_answer(store: tuple[str, type[Store]]) -> None:
    url, handler = store
    one = {"__name__": "n", "instance": "a"}
    handler.answers["query"] = {
        "status": "success",
        "data": {
            "resultType": "matrix",
            "result": [
                {"metric": {**one, "replica": "A"}, "values": [[10, "1"]]},
                {"metric": {**one, "replica": "B"}, "values": [[11, "1"], [26, "2"]]},
            ],
        },
    }
    with PrometheusReader(source(url, flavour="thanos")) as reader:
        (series,) = reader.samples("n", until=NOON, length=timedelta(minutes=1))
    assert (series.labels, len(series.samples), series.others) == (one, 2, ([[10, "1"]],))
    (_, params, _) = handler.asked[-1]
    wanted = {"dedup": "false", "partial_response": "false", "max_source_resolution": "0s"}
    assert wanted.items() <= params.items()


def test_too_many_series_are_counted_by_increase_and_called_approximate(
    catalog: None, store: tuple[str, type[Store]]
) -> None:
    url, handler = store
    few = "allowPrivate: true, flavour: prometheus, seriesLimit: 2"
    apply(SLO_YAML.replace("URL", url).replace("allowPrivate: true", few))
    Backfill.objects.all().delete()
    until = database_now().replace(second=0, microsecond=0)
    Collection.objects.update(watermark=until - timedelta(minutes=2), begins_at=until - timedelta(minutes=2))

    def answer(params: dict[str, str]) -> Any:
        if params["query"].startswith("sum(increase"):
            value = "9.6" if "code" in params["query"] else "10.4"
            result = {"resultType": "vector", "result": [{"metric": {}, "value": [0, value]}]}
        else:
            many = [{"metric": {"__name__": "http_requests_total", "n": str(n)}, "values": []} for n in range(3)]
            result = {"resultType": "matrix", "result": many}
        return {"status": "success", "data": result}

    handler.answer = staticmethod(answer)  # type: ignore[method-assign]
    assert refresh(versions=SLOVersion.objects.all(), until=until, sleep=lambda _: None) == {}
    version = SLOVersion.objects.get()
    (status,) = data_statuses([version]).values()
    assert status.mode == "approximate"
    assert "approximate" in status.detail
    assert sum(counts.total for _, counts in minutes_of(version)) == 21


def test_a_source_whose_clock_is_off_is_not_counted_by(store: tuple[str, type[Store]]) -> None:
    url, handler = store
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    said = hour_ago.strftime("%a, %d %b %Y %H:%M:%S GMT")
    handler.date_time_string = lambda *_: said  # type: ignore[method-assign]
    with PrometheusReader(source(url, flavour="prometheus")) as reader, pytest.raises(SourceError) as caught:
        reader.samples("up", until=NOON, length=timedelta(minutes=1))
    assert caught.value.state is DataState.CLOCK_SKEW
    assert "behind" in str(caught.value)


@pytest.mark.parametrize(
    ("known", "state"), [([], "UNKNOWN METRIC"), ([{"metric": {}, "value": [0, "7"]}], "NO SERIES")]
)
def test_a_selector_without_series_says_whether_the_metric_is_known(
    catalog: None, store: tuple[str, type[Store]], known: list[Any], state: str
) -> None:
    url, handler = store
    apply(SLO_YAML.replace("URL", url).replace("allowPrivate: true", "allowPrivate: true, flavour: prometheus"))
    until = database_now().replace(second=0, microsecond=0)
    Collection.objects.update(watermark=until - timedelta(minutes=2), begins_at=until - timedelta(minutes=2))

    def answer(params: dict[str, str]) -> Any:
        kind = "vector" if params["query"].startswith("count(") else "matrix"
        return {"status": "success", "data": {"resultType": kind, "result": known if kind == "vector" else []}}

    handler.answer = staticmethod(answer)  # type: ignore[method-assign]
    refresh(versions=SLOVersion.objects.all(), until=until, sleep=lambda _: None)
    assert data_statuses(SLOVersion.objects.all())[SLOVersion.objects.get().pk].state == state


def test_a_part_that_is_more_than_the_whole_is_a_failure_that_says_when(
    catalog: None, store: tuple[str, type[Store]]
) -> None:
    url, handler = store
    text = SLO_YAML.replace("URL", url).replace("allowPrivate: true", "allowPrivate: true, flavour: prometheus")
    apply(text.replace("spec: {query: http_requests_total}", 'spec: {query: "http_requests_total{code=\\"500\\"}"}'))
    until = database_now().replace(second=0, microsecond=0)
    begin = until - timedelta(minutes=2)
    Collection.objects.update(watermark=begin, begins_at=begin)

    def answer(params: dict[str, str]) -> Any:
        code = "200" if "!~" in params["query"] else "500"
        metric = {"__name__": "http_requests_total", "code": code, "instance": "a"}
        grown = ((-30, "10"), (15, "90" if code == "200" else "11"))
        values = [[begin.timestamp() + at, value] for at, value in grown]
        result = [] if params["query"].startswith("up") else [{"metric": metric, "values": values}]
        return {"status": "success", "data": {"resultType": "matrix", "result": result}}

    handler.answer = staticmethod(answer)  # type: ignore[method-assign]
    assert refresh(versions=SLOVersion.objects.all(), until=until, sleep=lambda _: None)
    version = SLOVersion.objects.get()
    (status,) = data_statuses([version]).values()
    assert (status.state, "80 good events of 1 in all" in status.detail) == ("GOOD ABOVE TOTAL", True)
    assert minutes_of(version) == []
