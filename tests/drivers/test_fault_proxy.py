"""Faults of a real proxy process between real sockets."""

import http.client
import json
import signal
import socket
import stat
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.services import (
    action_is_active,
    foresee_action,
    inject_action,
    plan_action,
    probe_action,
    run_action,
    undo_action,
)
from tests.drivers.conftest import Server, wait_for

pytestmark = pytest.mark.integration
StartProxy = Callable[..., dict[str, Any]]


def ask(port: int, path: str = "/", *, body: bytes | None = None) -> tuple[int, bytes, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    began = time.monotonic()
    try:
        connection.request("POST" if body else "GET", path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read(), time.monotonic() - began
    finally:
        connection.close()


def inject(name: str, key: str = "key", ttl: float = 60, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    arguments = {"proxy": "front", **arguments}
    foreseen = foresee_action(name, arguments, idempotency_key=key, ttl=timedelta(seconds=ttl))
    result = inject_action(name, arguments, foreseen, idempotency_key=key)
    assert result.ok, result.error
    return arguments, result.output


def test_without_a_fault_it_is_as_if_it_were_not_there(server: Server, start_proxy: StartProxy) -> None:
    port = start_proxy(server.port)["port"]
    assert ask(port)[:2] == (200, b"hello")
    body = bytes(range(256)) * 2000
    assert ask(port, body=body)[0] == 200
    assert server.asked[-1]["body"] == body
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(3):  # one connection, several requests, one of them chunked
        connection.request("POST", "/", body=iter([b"ab", b"c" * 5000]), encode_chunked=True)
        connection.getresponse().read()
    connection.close()
    assert [one["body"] for one in server.asked[2:]] == [b"ab" + b"c" * 5000] * 3


def test_a_delay_is_felt_and_gone_after_its_undo(server: Server, start_proxy: StartProxy) -> None:
    port = start_proxy(server.port)["port"]
    arguments, output = inject("proxy.delay", milliseconds=300)
    assert action_is_active("proxy.delay", arguments, output)
    assert 0.3 <= ask(port)[2] < 2
    for _ in range(2):
        assert undo_action("proxy.delay", arguments, output).ok
    assert action_is_active("proxy.delay", arguments, output) is False
    assert ask(port)[2] < 0.2


def test_a_fault_ends_by_itself_when_nobody_takes_it_back(server: Server, start_proxy: StartProxy) -> None:
    port = start_proxy(server.port)["port"]
    arguments, output = inject("proxy.delay", ttl=1, milliseconds=400)
    assert ask(port)[2] >= 0.4
    wait_for(lambda: action_is_active("proxy.delay", arguments, output) is False, seconds=5)
    assert ask(port)[2] < 0.3
    assert undo_action("proxy.delay", arguments, output).output["outcome"] == {"front": "was over already"}


def test_an_undo_that_overtakes_its_injection_wins(server: Server, start_proxy: StartProxy) -> None:
    start_proxy(server.port)
    arguments = {"proxy": "front", "milliseconds": 300}
    foreseen = foresee_action("proxy.delay", arguments, idempotency_key="k", ttl=timedelta(seconds=60))
    assert undo_action("proxy.delay", arguments, foreseen).ok
    late = inject_action("proxy.delay", arguments, foreseen, idempotency_key="k")
    assert not late.ok
    assert "taken back" in late.error
    assert action_is_active("proxy.delay", arguments, foreseen) is False


def test_resets_strike_open_connections_and_new_ones(server: Server, start_proxy: StartProxy) -> None:
    port = start_proxy(server.port)["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000)
        inject("proxy.reset")
        with pytest.raises(ConnectionResetError):
            _read_on(connection)
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        ask(port)


def _read_on(connection: socket.socket) -> None:
    """Read to the end; the rest of an answer may have come before the reset."""
    while connection.recv(1000):
        pass


def test_a_throttle_narrows_the_link(start_proxy: StartProxy) -> None:
    server = Server(body=b"x" * 40_000)
    try:
        port = start_proxy(server.port)["port"]
        assert ask(port)[2] < 0.5
        inject("proxy.throttle", bytes_per_second=40_000)
        status, body, seconds = ask(port)
        assert (status, len(body)) == (200, 40_000)
        assert 0.8 <= seconds < 4
    finally:
        server.close()


def test_an_error_rate_answers_for_the_server(server: Server, start_proxy: StartProxy) -> None:
    port = start_proxy(server.port)["port"]
    inject("proxy.error_rate", percent=50, status=500)
    seen = Counter(ask(port)[0] for _ in range(60))
    assert set(seen) == {200, 500}
    assert len(server.asked) == seen[200]


def test_plain_tcp_passes_and_has_no_error_rate(server: Server, start_proxy: StartProxy) -> None:
    port = start_proxy(server.port, http=False)["port"]
    assert ask(port)[0] == 200
    support = probe_action("proxy.error_rate", {"proxy": "front"})
    assert not support.supported
    assert "--http" in support.reason
    assert not run_action("proxy.error_rate", {"proxy": "front"}, idempotency_key="k").ok
    inject("proxy.delay", milliseconds=200)
    assert ask(port)[2] >= 0.2


def test_a_client_that_closes_its_side_still_reads_the_answer(start_proxy: StartProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = start_proxy(listening.getsockname()[1], http=False)["port"]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(5)
                assert connection.recv(100) == b"question"
                assert connection.recv(100) == b""
                time.sleep(0.2)
                connection.sendall(b"answer")
            assert client.recv(100) == b"answer"
            assert client.recv(100) == b""


def test_a_server_that_is_not_there_is_a_reset(start_proxy: StartProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    port = start_proxy(closed)["port"]
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        ask(port)


def test_a_proxy_that_was_killed_has_no_fault_left(server: Server, start_proxy: StartProxy) -> None:
    first = start_proxy(server.port)
    arguments, output = inject("proxy.delay", milliseconds=300)
    first["process"].kill()
    first["process"].wait(10)
    assert action_is_active("proxy.delay", arguments, output) is False
    assert undo_action("proxy.delay", arguments, output).ok
    port = start_proxy(server.port)["port"]
    assert action_is_active("proxy.delay", arguments, output) is False
    assert ask(port)[2] < 0.2


def test_whether_a_fault_is_there_is_unknown_while_the_proxy_is_frozen(
    server: Server, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.services.proxies.ASK_SECONDS", 0.3)
    proxy = start_proxy(server.port)
    arguments, output = inject("proxy.delay", milliseconds=300)
    proxy["process"].send_signal(signal.SIGSTOP)
    assert action_is_active("proxy.delay", arguments, output) is None
    assert not undo_action("proxy.delay", arguments, output).ok
    proxy["process"].send_signal(signal.SIGCONT)
    assert undo_action("proxy.delay", arguments, output).ok


def test_only_who_holds_the_token_may_ask(server: Server, start_proxy: StartProxy, tmp_path: Path) -> None:
    proxy = start_proxy(server.port)
    control = tmp_path / "proxies" / "front.json"
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    host, _, port = proxy["admin"].partition(":")
    assert host == "127.0.0.1"
    for token, expected in (("wrong", 401), (proxy["token"], 200)):
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        connection.request("GET", "/status", headers={"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == expected
        connection.close()


@pytest.mark.parametrize(
    ("order", "body", "expected"),
    [
        ("PUT /faults/a", b"[]", 405),
        ("PUT /faults/a", b"{", 400),
        ("PUT /faults/a", b'{"kind": "reset"}', 409),
        ("PUT /elsewhere", b"{}", 404),
        ("PUT /faults/a", b" " * 20_000, 413),
    ],
)
def test_a_wrong_order_changes_nothing(
    server: Server, start_proxy: StartProxy, order: str, body: bytes, expected: int
) -> None:
    proxy = start_proxy(server.port)
    host, _, port = proxy["admin"].partition(":")
    headers = {"Authorization": f"Bearer {proxy['token']}"}
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    method, path = order.split()
    connection.request(method, path, body=body, headers=headers)
    assert connection.getresponse().status == expected
    connection.request("GET", "/status", headers=headers)
    assert json.loads(connection.getresponse().read())["faults"] == []
    connection.close()


def test_a_proxy_that_is_not_there_is_named(settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    support = probe_action("proxy.delay", {"proxy": "nowhere", "milliseconds": 1})
    assert not support.supported
    assert "no proxy 'nowhere' runs here" in support.reason
    assert not plan_action("proxy.delay", {"proxy": "nowhere", "milliseconds": 1}).targets
