"""Second factors, showing again who one is, sessions and lock-outs, through the pages."""

import base64
import hmac
import re
import struct
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from accounts.data import Role, system_principal
from accounts.models import ApiToken, RoleGrant, SignInSession, User
from accounts.selectors import factors_of
from accounts.services import (
    create_user,
    grant_role,
    save_sign_in_policy,
    set_break_glass,
    sign_in_is_locked,
)
from core.parsing import InputRefusedError
from core.rekeying import store_under_current_key, survey_keys
from delivery.models import Delivery
from ledger.selectors import entries

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cast() -> None:
    for name, role in (("ada", Role.ADMIN), ("alice", Role.RESPONDER)):
        user = create_user(principal=SITE, username=name, password=PASSWORD, email=f"{name}@example.org")
        grant_role(principal=SITE, user=user, role=role)


def rules(**changes: Any) -> None:
    asked = {
        "second_factor_roles": (),
        "local_sign_in": "everybody",
        "idle_minutes": 60,
        "life_hours": 8,
        "fresh_minutes": 15,
    }
    save_sign_in_policy(principal=SITE, **{**asked, **changes})


def sign_in(name: str, password: str = PASSWORD, client: Client | None = None) -> tuple[Client, Any]:
    client = client or Client()
    return client, client.post("/sign-in/", {"username": name, "password": password})


def code_now(secret: str) -> str:
    """RFC 6238 with its defaults: HMAC-SHA1, 30 s, 6 digits."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), "sha1").digest()
    start = digest[-1] & 0xF
    return str((struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000).zfill(6)


def enrol(client: Client) -> tuple[str, list[str]]:
    """Set up an app as a person does; return its secret and the recovery codes."""
    page = client.get("/settings/account/factors/code/add/").content.decode()
    found = re.search(r">([A-Z2-7]{32})<", page)
    assert found, page
    answer: Any = client.post("/settings/account/factors/code/add/", {"code": code_now(found[1])}, follow=True)
    return found[1], re.findall(r"<li>(\d{8})</li>", answer.content.decode())


def recorded(kind: str) -> list[dict[str, Any]]:
    return [one.payload for one in entries(types=[kind]).order_by("pk") if one.payload]


def test_a_code_of_the_app_is_asked_for_after_the_password(django_capture_on_commit_callbacks: Any) -> None:
    client, _ = sign_in("alice")
    with django_capture_on_commit_callbacks(execute=True):
        secret, codes = enrol(client)
    assert len(codes) == 10
    assert [one["factor"] for one in recorded("access.factor_changed")] == ["totp", "recovery_codes"]
    other, answer = sign_in("alice")
    assert answer["Location"] == "/sign-in/code/"
    assert other.get("/settings/account/").status_code == 302
    assert "not right" in other.post("/sign-in/code/", {"code": "000000"}).content.decode()
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(seconds=90)):
        answer = other.post("/sign-in/code/", {"code": code_now(secret)})
        assert answer["Location"] == "/"
        assert other.get("/settings/account/").status_code == 200
    assert recorded("access.signed_in")[-1]["second_factor"] == "totp"


def test_a_code_of_the_app_is_good_once_over_all_processes() -> None:
    client, _ = sign_in("alice")
    secret, _ = enrol(client)
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(seconds=90), tick=False):
        code = code_now(secret)
        first, _ = sign_in("alice")
        assert first.post("/sign-in/code/", {"code": code})["Location"] == "/"
        cache.clear()  # another process remembers nothing of this one
        second, _ = sign_in("alice")
        assert "used already" in second.post("/sign-in/code/", {"code": code}).content.decode()


def test_a_recovery_code_works_once() -> None:
    client, _ = sign_in("alice")
    _, codes = enrol(client)
    other, _ = sign_in("alice")
    assert other.post("/sign-in/code/", {"code": codes[0]})["Location"] == "/"
    third, _ = sign_in("alice")
    assert third.post("/sign-in/code/", {"code": codes[0]}).status_code == 200
    assert codes[1] not in client.get("/settings/account/factors/recovery-codes/").content.decode()


def test_the_secret_of_an_app_is_not_kept_in_the_clear() -> None:
    client, _ = sign_in("alice")
    secret, _ = enrol(client)
    assert secret not in str([one.data for one in factors_of(user=User.objects.get(username="alice"))])


def test_secrets_of_factors_are_renewed_with_the_key(settings: Any) -> None:
    client, _ = sign_in("alice")
    secret, _ = enrol(client)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key " * 5
    (before,) = [one for one in survey_keys() if one.name == "mfa.Authenticator.data"]
    assert (before.current, before.older) == (0, 2)
    store_under_current_key()
    settings.SECRET_KEY_FALLBACKS = []
    (after,) = [one for one in survey_keys() if one.name == "mfa.Authenticator.data"]
    assert (after.current, after.older, after.unreadable) == (2, 0, 0)
    other, _ = sign_in("alice")
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(seconds=90)):
        assert other.post("/sign-in/code/", {"code": code_now(secret)})["Location"] == "/"


def test_guessing_codes_locks_as_guessing_passwords_does() -> None:
    client, _ = sign_in("alice")
    enrol(client)
    other, _ = sign_in("alice")
    for _ in range(8):
        other.post("/sign-in/code/", {"code": "000000"})
    assert "Too many" in other.post("/sign-in/code/", {"code": "000000"}).content.decode()
    assert sign_in_is_locked(username="alice", address="203.0.113.1")
    _, answer = sign_in("alice")
    assert "Too many" in answer.content.decode()


def test_a_role_that_asks_for_a_second_factor_leads_to_its_set_up_first() -> None:
    rules(second_factor_roles=[Role.RESPONDER])
    client, _ = sign_in("alice")
    assert client.get("/")["Location"] == "/settings/account/factors/"
    assert client.get("/api/v1/teams/").status_code == 403
    assert client.get("/incidents/?state=open")["Location"] == "/settings/account/factors/"
    page = client.get("/settings/account/factors/").content.decode()
    assert "Your role asks" in page
    assert "Browsers keep passkeys to names" not in page
    by_number = client.get("/settings/account/factors/", headers={"Host": "127.0.0.1:8000"}).content.decode()
    assert "open this site as <code>http://localhost:8000</code>" in by_number
    enrol(client)
    # From the codes, and from the list of factors, a person goes on to what they asked for.
    for path in ("recovery-codes/", ""):
        assert '"/incidents/?state=open"' in client.get(f"/settings/account/factors/{path}").content.decode()
    assert client.get("/").status_code == 200
    assert "Go on to what" not in client.get("/settings/account/factors/").content.decode()
    ada, _ = sign_in("ada")
    assert ada.get("/").status_code == 200


def test_a_lost_phone_of_the_only_administrator_is_helped_at_the_machine(capsys: Any) -> None:
    rules(second_factor_roles=[Role.ADMIN])
    client, _ = sign_in("ada")
    enrol(client)
    call_command("account", "remove-factors", "ada")
    assert "the next sign-in asks for a new one" in capsys.readouterr().out
    assert not factors_of(user=User.objects.get(username="ada"))
    assert client.get("/").status_code == 302
    again, _ = sign_in("ada")
    assert again.get("/")["Location"] == "/settings/account/factors/"


def test_something_dangerous_asks_again_after_a_while_and_then_goes_through() -> None:
    rules(fresh_minutes=10)
    client, _ = sign_in("ada")
    page = "/settings/people/alice/"
    assert client.post(page, {"role": "viewer"}).status_code == 302
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(minutes=11)):
        answer = client.post(page, {"role": "approver"}, headers={"Referer": f"http://testserver{page}"})
        assert answer["Location"] == "/sign-in/again/?next=%2Fsettings%2Fpeople%2Falice%2F"
        assert not RoleGrant.objects.filter(role="approver").exists()
        token = {"name": "x", "scopes": ["site.admin"]}
        refused = client.post("/api/v1/tokens/", token, content_type="application/json")
        assert refused.status_code == 403
        assert not ApiToken.objects.exists()
        again = client.get(answer["Location"])["Location"]
        assert again.startswith("/sign-in/again/password/")
        assert "not your password" in client.post(again, {"password": "wrong"}).content.decode()
        assert client.post(again, {"password": PASSWORD, "next": page})["Location"] == page
        client.post(page, {"role": "approver"})
        assert RoleGrant.objects.filter(role="approver").exists()


def test_reading_and_ordinary_work_are_not_asked_about() -> None:
    rules(fresh_minutes=1)
    client, _ = sign_in("ada")
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(minutes=5)):
        assert client.get("/settings/people/alice/").status_code == 200
        assert client.post("/settings/account/", {"time_zone": "Asia/Tokyo"})["Location"] == "/settings/account/"


def test_a_session_ends_when_it_was_idle_and_when_it_is_old() -> None:
    start = datetime.now(tz=UTC)
    rules(idle_minutes=30, life_hours=1)
    client, _ = sign_in("alice")
    for minutes in (20, 40, 59):
        with time_machine.travel(start + timedelta(minutes=minutes)):
            assert client.get("/settings/account/").status_code == 200
    with time_machine.travel(start + timedelta(minutes=61)):
        assert client.get("/settings/account/")["Location"].startswith("/sign-in/?over=age")
    idle, _ = sign_in("alice")
    with time_machine.travel(start + timedelta(minutes=31)):
        away = idle.get("/settings/account/")["Location"]
        assert away.startswith("/sign-in/?over=idle")
        assert "nothing was done for a while" in idle.get(away).content.decode()
    assert set(SignInSession.objects.values_list("ended_why", flat=True)) == {"over: age", "over: idle"}


def test_a_shorter_rule_reaches_open_sessions() -> None:
    start = datetime.now(tz=UTC)
    client, _ = sign_in("alice")
    rules(idle_minutes=5)
    with time_machine.travel(start + timedelta(minutes=6)):
        assert client.get("/settings/account/").status_code == 302


def test_people_see_and_end_their_other_sessions() -> None:
    here, _ = sign_in("alice")
    there, _ = sign_in("alice")
    page = here.get("/settings/account/").content.decode()
    assert page.count("This browser") == 1
    assert here.post("/settings/account/sessions/end/", {"session": "others"}).status_code == 302
    assert there.get("/settings/account/").status_code == 302
    assert here.get("/settings/account/").status_code == 200
    ada, _ = sign_in("ada")
    mine = SignInSession.objects.get(user__username="ada").pk
    here.post("/settings/account/sessions/end/", {"session": str(mine)})
    assert ada.get("/settings/account/").status_code == 200


def test_an_administrator_ends_sessions_unlocks_and_removes_factors() -> None:
    alice, _ = sign_in("alice")
    enrol(alice)
    ada, _ = sign_in("ada")
    ada.post("/settings/people/alice/", {"action": "end-sessions"})
    assert alice.get("/settings/account/").status_code == 302
    for _ in range(8):
        sign_in("alice", "wrong")
    assert sign_in_is_locked(username="alice", address="203.0.113.1")
    assert "alice" in ada.get("/settings/sign-in/").content.decode()
    ada.post("/settings/sign-in/", {"unlock": "alice"})
    assert not sign_in_is_locked(username="alice", address="203.0.113.1")
    assert [one["locked"] for one in recorded("access.locked_out")] == ["name", "lifted"]
    ada.post("/settings/people/alice/", {"action": "remove-factors"})
    _, answer = sign_in("alice")
    assert answer["Location"] == "/"
    assert alice.post("/settings/people/ada/", {"action": "end-sessions"}).status_code in {302, 403}
    assert ada.get("/settings/people/").status_code == 200


def test_a_closed_account_loses_its_sessions_at_once() -> None:
    alice, _ = sign_in("alice")
    ada, _ = sign_in("ada")
    ada.post("/settings/people/alice/", {"action": "close"})
    assert alice.get("/settings/account/").status_code == 302
    assert not SignInSession.objects.filter(user__username="alice", ended_at__isnull=True).exists()


def test_break_glass_signs_in_whatever_else_holds_and_alarms() -> None:
    with pytest.raises(InputRefusedError, match="break-glass account first"):
        rules(local_sign_in="break-glass")
    set_break_glass(principal=SITE, user=User.objects.get(username="ada"), is_break_glass=True)
    rules(local_sign_in="break-glass")
    _, answer = sign_in("alice")
    assert "for emergencies only" in answer.content.decode()
    sign_in("ada")
    assert recorded("access.signed_in")[-1]["break_glass"] is True
    told = Delivery.objects.filter(about="user:ada")
    assert {one.channel for one in told} == {"in-app", "email"}
    assert all("Break-glass" in one.subject for one in told)


def test_the_rules_are_for_administrators_and_are_recorded() -> None:
    alice, _ = sign_in("alice")
    assert alice.get("/settings/sign-in/").status_code == 403
    assert alice.get("/settings/sign-in/providers/").status_code == 403
    ada, _ = sign_in("ada")
    form = {
        "second_factor_roles": ["admin"],
        "local_sign_in": "everybody",
        "idle_minutes": "30",
        "life_hours": "8",
        "fresh_minutes": "10",
    }
    assert ada.post("/settings/sign-in/", form).status_code == 302
    assert recorded("access.rules_changed")[-1]["after"]["second_factor_roles"] == "admin"


def test_a_provider_is_written_down_tried_and_removed_on_its_page() -> None:
    ada, _ = sign_in("ada")
    form = {
        "slug": "okta",
        "name": "Okta",
        "issuer": "http://127.0.0.1:1",
        "client_id": "assay",
        "scopes": "openid",
        "groups_claim": "groups",
        "private_network": "on",
        "secret": "very secret",
        "mappings": "SRE: responder\nOps: member of nowhere",
    }
    page = ada.post("/settings/sign-in/providers/add/oidc/", form).content.decode()
    assert "slug of a team" in page
    form["mappings"] = "SRE: responder"
    assert ada.post("/settings/sign-in/providers/add/oidc/", form).status_code == 302
    address = "/settings/sign-in/providers/okta/"
    page = ada.get(address).content.decode()
    assert "very secret" not in page
    assert "http://testserver/sign-in/with/okta/answer/" in page
    tried = ada.post(address, {"step": "try"}).content.decode()
    assert "cannot be read" in tried
    assert "can still sign in" in tried
    assert "very secret" not in str(recorded("access.provider_changed"))
    assert "Okta" in Client().get("/sign-in/").content.decode()
    assert ada.post(address, {"step": "remove"})["Location"] == "/settings/sign-in/providers/"
    assert [one["change"] for one in recorded("access.provider_changed")] == ["added", "removed"]
