"""People, teams and tokens over REST; one's own password on a page."""

from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.test import Client

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.services import create_user, grant_role
from ledger.selectors import entries

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cast() -> None:
    for name, role in (("ada", Role.ADMIN), ("alice", Role.RESPONDER), ("charlie", None)):
        user = create_user(principal=SITE, username=name, password=PASSWORD)
        if role:
            grant_role(principal=SITE, user=user, role=role)


def call(name: str, method: str, path: str, body: object = None, **headers: str) -> Any:
    client = Client()
    if name:
        client.force_login(User.objects.get(username=name))
    data = orjson.dumps(body) if body is not None else b""
    return client.generic(method, f"/api/v1{path}", data, content_type="application/json", headers=headers)


def test_an_administrator_adds_people_grants_and_revokes() -> None:
    made = call("ada", "POST", "/users/", {"username": "bob", "full_name": "Bob Brown", "email": "bob@example.org"})
    assert made.status_code == 201
    assert made.json()["name"] == "Bob Brown"
    assert "password" not in made.json()
    assert call("ada", "POST", "/users/bob/roles/", {"role": "approver"}).status_code == 201
    assert call("ada", "GET", "/users/bob/").json()["grants"][0]["role"] == "approver"
    assert call("ada", "DELETE", "/users/bob/roles/", {"role": "approver"}).status_code == 204
    assert call("ada", "DELETE", "/users/bob/").status_code == 204
    assert not User.objects.get(username="bob").is_active


def test_the_last_administrator_stays() -> None:
    assert call("ada", "DELETE", "/users/ada/roles/", {"role": "admin"}).status_code == 400
    assert call("ada", "DELETE", "/users/ada/").status_code == 400


def test_a_weak_password_or_an_unknown_key_is_refused_with_words() -> None:
    weak = call("ada", "POST", "/users/", {"username": "bob", "password": "short"})
    assert "12 characters" in weak.json()["problems"][0]["allowed"]
    unknown = call("ada", "POST", "/users/", {"username": "bob", "is_superuser": True})
    assert unknown.status_code == 400
    assert "is_superuser" in unknown.json()["problems"][0]["where"]
    assert not User.objects.filter(username="bob").exists()


@pytest.mark.parametrize("name", ["alice", "charlie"])
def test_others_see_no_people(name: str) -> None:
    assert call(name, "GET", "/users/").status_code == 403
    assert call(name, "POST", "/users/", {"username": "x"}).status_code == 403


def test_teams_are_made_and_read() -> None:
    body = {"slug": "inference", "name": "Inference", "members": ["alice"]}
    assert call("ada", "POST", "/teams/", body).status_code == 201
    assert call("alice", "GET", "/teams/inference/").json()["members"] == ["alice"]
    assert call("alice", "POST", "/teams/", body).status_code == 403
    assert call("charlie", "GET", "/teams/").json()["count"] == 0
    assert call("", "GET", "/teams/").status_code == 401


def test_a_token_shows_its_secret_once_and_ends_at_once() -> None:
    made = call("alice", "POST", "/tokens/", {"name": "pipeline", "scopes": ["operations.view"]})
    secret, key = made.json()["secret"], made.json()["id"]
    assert secret.startswith("assay_")
    assert made.headers["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {secret}"}
    (listed,) = call("", "GET", "/tokens/", **bearer).json()["results"]
    assert "secret" not in listed
    more = call("", "POST", "/tokens/", {"name": "more", "scopes": ["runbook.run"]}, **bearer)
    assert more.status_code == 400
    assert call("charlie", "DELETE", f"/tokens/{key}/").status_code == 404
    assert call("alice", "DELETE", f"/tokens/{key}/").status_code == 204
    assert call("", "GET", "/tokens/", **bearer).status_code == 401


def test_a_token_for_somebody_else_takes_an_administrator() -> None:
    body = {"name": "x", "scopes": ["operations.view"], "owner": "alice"}
    assert call("charlie", "POST", "/tokens/", body).status_code == 403
    assert call("ada", "POST", "/tokens/", body).json()["owner"] == "alice"


def change(old: str, new: str, again: str = "") -> Any:
    client = Client()
    client.login(username="alice", password=PASSWORD)
    answer = client.post("/settings/account/password/", {"old": old, "new": new, "again": again or new})
    return client, answer


def test_a_password_is_changed_with_the_old_one_and_recorded() -> None:
    elsewhere = Client()
    elsewhere.login(username="alice", password=PASSWORD)
    client, answer = change(PASSWORD, "another long sentence")
    assert answer.status_code == 302
    assert client.get("/settings/account/").status_code == 200
    assert elsewhere.get("/settings/account/").status_code == 302
    assert Client().login(username="alice", password="another long sentence")
    said = [one.payload for one in entries(types=["audit.action"]) if one.payload]
    assert "account.password_changed" in [one["action"] for one in said]
    assert "sentence" not in str(said)


@pytest.mark.parametrize(
    ("old", "new", "again", "said"),
    [
        ("wrong wrong wrong", "another long sentence", "", "This is not your password."),
        (PASSWORD, "short", "", "at least 12 characters"),
        (PASSWORD, "another long sentence", "a different one", "The two do not agree."),
        (PASSWORD, PASSWORD, "", "the password that you have"),
    ],
)
def test_a_wrong_change_is_refused_at_its_field(old: str, new: str, again: str, said: str) -> None:
    _, answer = change(old, new, again)
    assert said in answer.content.decode()
    assert Client().login(username="alice", password=PASSWORD)


def test_guessing_the_old_password_locks() -> None:
    for _ in range(8):
        change("wrong wrong wrong", "another long sentence")
    client = Client()
    client.force_login(User.objects.get(username="alice"))
    new = "another long sentence"
    answer = client.post("/settings/account/password/", {"old": PASSWORD, "new": new, "again": new})
    assert "Too many" in answer.content.decode()


def test_the_schema_is_complete_and_without_warnings() -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file="/dev/null")
