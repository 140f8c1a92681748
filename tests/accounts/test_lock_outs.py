"""Administrators see who is locked out, and lift locks by name and by address: page, REST, command line."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.test import Client

from accounts.data import Role, system_principal
from accounts.domain.lockouts import LOCKOUT_WINDOW, LockedKind, lock_outs
from accounts.models import SignInFailure, User
from accounts.services import create_user, grant_role, sign_in_failed, sign_in_is_locked
from ledger.selectors import entries

SITE = system_principal("test")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATABASE = pytest.mark.django_db


def failed_at(*minutes: float, name: str = "nora", address: str = "203.0.113.9") -> list[tuple[str, str, datetime]]:
    return [(name, address, NOW - timedelta(minutes=one)) for one in minutes]


def test_eight_failures_lock_a_name_until_fewer_are_within_the_window() -> None:
    assert lock_outs(failed_at(*range(7)), now=NOW) == []
    assert lock_outs(failed_at(*range(7), 15), now=NOW) == []
    [lock] = lock_outs(failed_at(*range(8)), now=NOW)
    assert (lock.kind, lock.key, lock.failures, lock.latest) == (LockedKind.NAME, "nora", 8, NOW)
    assert lock.until == NOW - timedelta(minutes=7) + LOCKOUT_WINDOW
    [lock] = lock_outs(failed_at(*range(10)), now=NOW)
    assert lock.until == NOW - timedelta(minutes=7) + LOCKOUT_WINDOW


def test_forty_failures_lock_an_address_whoever_it_was() -> None:
    failures = [one for number in range(40) for one in failed_at(number / 10, name=f"n{number}")]
    assert [(one.kind, one.key) for one in lock_outs(failures, now=NOW)] == [(LockedKind.ADDRESS, "203.0.113.9")]
    assert lock_outs(failures[1:], now=NOW) == []


@pytest.fixture
def cast() -> Client:
    for name, role in (("ada", Role.ADMIN), ("victor", Role.VIEWER)):
        grant_role(principal=SITE, user=create_user(principal=SITE, username=name, password=None), role=role)
    for number in range(40):
        sign_in_failed(username="nora" if number < 8 else f"guess-{number}", address="203.0.113.9")
    return as_person("ada")


def as_person(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def api(client: Client, body: object = None) -> Any:
    if body is None:
        return client.get("/api/v1/sign-in/lock-outs/")
    return client.post("/api/v1/sign-in/lock-outs/", orjson.dumps(body), content_type="application/json")


def lifted() -> list[tuple[str, str, str]]:
    found = entries(types=["access.locked_out"]).order_by("pk")
    told = [one.payload or {} for one in found]
    return [
        (str(one["target"]), str(one["address"]), entry.actor)
        for one, entry in zip(told, found, strict=True)
        if one["locked"] == "lifted"
    ]


@DATABASE
def test_the_page_shows_both_and_lifts_each(cast: Client) -> None:
    page = cast.get("/settings/sign-in/").content.decode()
    assert page.count("Lift the lock") == 2
    cast.post("/settings/sign-in/", {"unlock-address": "203.0.113.9"})
    assert "Lift the lock" not in cast.get("/settings/sign-in/").content.decode()
    assert not sign_in_is_locked(username="nora", address="203.0.113.9")
    ada = User.objects.get(username="ada")
    assert lifted() == [("", "203.0.113.9", f"user:{ada.pk}")]


@DATABASE
def test_rest_shows_both_and_lifts_each(cast: Client) -> None:
    assert [(one["kind"], one["key"], one["failures"]) for one in api(cast).json()] == [
        ("address", "203.0.113.9", 40),
        ("name", "nora", 8),
    ]
    assert api(cast, {"kind": "name", "key": "nora"}).json() == {"lifted": True}
    assert api(cast, {"kind": "name", "key": "nora"}).json() == {"lifted": False}
    assert api(cast, {"kind": "phone", "key": "nora"}).status_code == 400
    assert sign_in_is_locked(username="nora", address="203.0.113.9") is False
    assert SignInFailure.objects.count() == 32


@DATABASE
def test_nobody_else_sees_or_lifts_a_lock(cast: Client) -> None:
    victor = as_person("victor")
    assert api(victor).status_code == 403
    assert api(victor, {"kind": "name", "key": "nora"}).status_code == 403
    assert victor.post("/settings/sign-in/", {"unlock-address": "203.0.113.9"}).status_code == 403
    assert api(Client()).status_code in {401, 403}
    assert SignInFailure.objects.count() == 40


@DATABASE
def test_the_command_line_lists_and_lifts(cast: Client, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("account", "locked")
    assert "203.0.113.9" in capsys.readouterr().out
    call_command("account", "unlock", "203.0.113.9", "--address")
    assert "sign in from 203.0.113.9 again" in capsys.readouterr().out
    call_command("account", "locked")
    assert "Nobody is locked out." in capsys.readouterr().out
    assert lifted() == [("", "203.0.113.9", "system:cli")]
