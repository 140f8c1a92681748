"""One sender who asks too often is told to wait; others are served."""

from datetime import timedelta

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Capability, system_principal
from accounts.services import create_api_token, create_user
from core import throttling
from core.limiting import BURST_SECONDS, SENDERS, RateLimit


class Hand:
    """A clock that is moved by hand."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


@given(rate=st.floats(0.1, 1000), steps=st.lists(st.floats(0, 5), max_size=200))
def test_over_any_stretch_no_more_pass_than_the_rate_and_one_burst(rate: float, steps: list[float]) -> None:
    clock = Hand()
    limit = RateLimit(rate, now=clock)
    passed = 0
    for step in steps:
        clock.at += step
        passed += limit.wait("one") == 0
    assert passed <= max(1.0, rate * BURST_SECONDS) + rate * clock.at + 1e-6


@given(rate=st.floats(0.1, 1000))
def test_after_the_wait_that_was_told_a_request_passes(rate: float) -> None:
    clock = Hand()
    limit = RateLimit(rate, now=clock)
    while (wait := limit.wait("one")) == 0:
        pass
    clock.at += wait * 1.000001 + 1e-9
    assert limit.wait("one") == 0
    assert limit.wait("another") == 0


def test_no_rate_is_no_limit_and_memory_is_bounded() -> None:
    assert all(RateLimit(0).wait("one") == 0 for _ in range(1000))
    limit = RateLimit(1)
    for number in range(SENDERS + 50):
        limit.wait(str(number))
    assert len(limit._left) == SENDERS


@pytest.fixture
def slow_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "REQUESTS", RateLimit(0.1))


@pytest.mark.django_db
@pytest.mark.usefixtures("slow_api")
def test_a_token_that_asks_too_often_is_told_when_to_come_back() -> None:
    site = system_principal("test")
    headers = []
    for name in ("eager", "calm"):
        owner = create_user(principal=site, username=name, password=None)
        scopes = [Capability.OPERATIONS_VIEW]
        _, secret = create_api_token(principal=site, owner=owner, name=name, scopes=scopes, life=timedelta(days=1))
        headers.append({"Authorization": f"Bearer {secret}"})
    eager, calm = headers
    assert Client().get("/api/v1/tokens/", headers=eager).status_code == 200
    refused = Client().get("/api/v1/tokens/", headers=eager)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) in range(1, 11)
    assert Client().get("/api/v1/tokens/", headers=calm).status_code == 200
