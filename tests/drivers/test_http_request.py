"""Sending requests that change something."""

from typing import Any

import pytest

from core.parsing import InputRefusedError
from drivers.data import Idempotency, Risk
from drivers.services import action, plan_action, risk_of_action, run_action
from tests.drivers.conftest import Server

pytestmark = pytest.mark.integration


def request(server: Server, **changes: Any) -> dict[str, Any]:
    return {"method": "POST", "url": f"http://127.0.0.1:{server.port}/do", "allow": ["127.0.0.1"], **changes}


def test_it_sends_body_headers_and_an_idempotency_key(server: Server) -> None:
    arguments = request(server, json={"scale": 3}, headers={"X-Reason": "drill"})
    result = run_action("http.request", arguments, idempotency_key="run:1")
    assert result.ok
    assert result.output == {"value": 200, "body": "hello"}
    (asked,) = server.asked
    assert (asked["method"], asked["body"]) == ("POST", b'{"scale": 3}')
    assert asked["headers"]["Idempotency-Key"] == "run:1"
    assert asked["headers"]["X-Reason"] == "drill"
    assert action("http.request").idempotency is Idempotency.KEY


def test_a_status_that_was_not_expected_is_no_success(server: Server) -> None:
    arguments = request(server, url=f"http://127.0.0.1:{server.port}/status/409")
    result = run_action("http.request", arguments, idempotency_key="k")
    assert (result.ok, result.error) == (False, "status 409")
    assert run_action("http.request", {**arguments, "expect_status": [409]}, idempotency_key="k").ok


@pytest.mark.parametrize(("method", "risk"), [("GET", Risk.READ), ("PUT", Risk.CHANGE), ("DELETE", Risk.DESTRUCTIVE)])
def test_its_risk_is_that_of_its_method(server: Server, method: str, risk: Risk) -> None:
    assert risk_of_action("http.request", request(server, method=method)) is risk
    assert f"({risk.value})" in plan_action("http.request", request(server, method=method)).summary
    assert not server.asked  # a plan sends nothing


def test_a_private_address_is_refused_unless_allowed(server: Server) -> None:
    result = run_action("http.request", request(server, allow=[]), idempotency_key="k")
    assert not result.ok
    assert "not public" in result.error
    assert not server.asked


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "secret"),
        ({"headers": {"Host": "other"}}, "cannot be set"),
        ({"headers": {"X-A": "b\r\nX-C: d"}}, "line break"),
        ({"json": {}, "text": "both"}, "not both"),
        ({"method": "TRACE"}, "method"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"expect_status": []}, "expect_status"),
    ],
)
def test_wrong_arguments_are_refused(server: Server, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        plan_action("http.request", request(server, **changes))
    assert said in str(caught.value)
