import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from core.http import OutboundPolicy, OutboundRefusedError, guarded_session


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/")
            self.end_headers()
            return
        body = b"x" * 5000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[int]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd.server_port
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "10.1.2.3", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0", "100.64.0.1", "224.0.0.1"],
)
def test_it_refuses_addresses_that_are_not_public(host: str) -> None:
    with guarded_session() as session, pytest.raises(OutboundRefusedError, match="not public"):
        session.get(f"http://{host}/")


def test_a_network_that_the_set_up_asks_for_is_reached(server: int) -> None:
    with guarded_session(allow=["127.0.0.0/8"]) as session:
        assert session.get(f"http://127.0.0.1:{server}/").status_code == 200


def test_a_name_that_the_set_up_asks_for_is_reached(server: int) -> None:
    with guarded_session(allow=["localhost"]) as session:
        assert session.get(f"http://localhost:{server}/").status_code == 200
    with guarded_session() as session, pytest.raises(OutboundRefusedError):
        session.get(f"http://localhost:{server}/")


def test_it_connects_to_the_address_that_was_checked(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "192.0.2.1"])
    real = socket.getaddrinfo
    asked: list[str] = []

    def rebinding(host: str, port: int, *args: object, **kwargs: object) -> object:
        if host == "rebind.example":
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]
        return real(host, port, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with guarded_session(allow=["127.0.0.0/8"]) as session:
        assert session.get(f"http://rebind.example:{server}/").ok
    assert asked == ["rebind.example"]


def test_it_does_not_follow_redirects(server: int) -> None:
    with guarded_session(allow=["127.0.0.1"]) as session:
        assert session.get(f"http://127.0.0.1:{server}/redirect").status_code == 302


def test_an_answer_above_the_bound_is_refused(server: int) -> None:
    session = guarded_session(allow=["127.0.0.1"], max_bytes=4000)
    with session, pytest.raises(OutboundRefusedError, match="larger than 4000"):
        session.get(f"http://127.0.0.1:{server}/")


def test_proxies_of_the_environment_are_not_used(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with guarded_session(allow=["127.0.0.1"]) as session:
        assert session.get(f"http://127.0.0.1:{server}/").ok


def test_a_policy_names_hosts_and_networks() -> None:
    policy = OutboundPolicy(allow=("Prometheus.internal.", "10.0.0.0/8"))
    assert policy.hosts == {"prometheus.internal"}
    assert [str(network) for network in policy.networks] == ["10.0.0.0/8"]
