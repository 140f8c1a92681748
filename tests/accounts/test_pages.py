import re
from typing import Any

import pytest
from django.test import Client

from accounts.data import Capability, Role, system_principal
from accounts.domain.permissions import CAPABILITY_WORDS, ROLE_WORDS
from accounts.models import ApiToken, RoleGrant, User
from accounts.selectors import principal_for_user
from accounts.services import create_api_token, create_user, grant_role
from ledger.selectors import entries

pytestmark = pytest.mark.django_db
SITE = system_principal("test")


@pytest.fixture
def people() -> dict[str, User]:
    users = {name: create_user(principal=SITE, username=name, password=None) for name in ("ada", "alice", "charlie")}
    grant_role(principal=SITE, user=users["ada"], role=Role.ADMIN)
    grant_role(principal=SITE, user=users["alice"], role=Role.RESPONDER)
    return users


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_people_make_and_revoke_their_own_tokens(people: dict[str, User]) -> None:
    client = signed_in(people["alice"])
    body = client.post(
        "/settings/account/", {"name": "pipeline", "scopes": ["operations.view"], "days": "30"}
    ).content.decode()
    secret = re.search(r"assay_[\w-]{30,}", body)
    assert secret is not None
    token = ApiToken.objects.get()
    assert secret[0] not in client.get("/settings/account/").content.decode()
    assert client.post(f"/settings/account/tokens/{token.pk}/revoke/").status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_a_token_cannot_be_given_more_than_its_owner_has(people: dict[str, User]) -> None:
    answer = signed_in(people["alice"]).post(
        "/settings/account/", {"name": "x", "scopes": ["site.admin"], "days": "30"}
    )
    assert "Nothing was saved" in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_nobody_revokes_the_token_of_another(people: dict[str, User]) -> None:
    signed_in(people["alice"]).post("/settings/account/", {"name": "x", "scopes": ["operations.view"], "days": "30"})
    token = ApiToken.objects.get()
    assert signed_in(people["charlie"]).post(f"/settings/account/tokens/{token.pk}/revoke/").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_times_are_shown_in_the_chosen_zone(people: dict[str, User]) -> None:
    client = signed_in(people["alice"])
    client.post("/settings/account/", {"time_zone": "Asia/Tokyo"})
    assert "Times in Asia/Tokyo" in client.get("/settings/account/").content.decode()


def test_an_administrator_adds_a_person_and_gives_and_takes_a_role(people: dict[str, User]) -> None:
    client = signed_in(people["ada"])
    form = {
        "username": "dora",
        "full_name": "Dora Diaz",
        "email": "dora@example.org",
        "time_zone": "UTC",
        "password": "a-long-enough-secret",
    }
    assert client.post("/settings/people/add/", form).status_code == 302
    client.post("/settings/people/dora/", {"role": "viewer"})
    grant = RoleGrant.objects.get(user__username="dora")
    assert grant.role == "viewer"
    client.post("/settings/people/dora/", {"action": "revoke", "grant": str(grant.pk)})
    assert not RoleGrant.objects.filter(user__username="dora").exists()
    actions = [entry.payload["action"] for entry in entries(subjects=["user:dora"]) if entry.payload]
    assert {"account.created", "role.granted", "role.revoked"} <= set(actions)


def test_the_last_administrator_cannot_close_their_account(people: dict[str, User]) -> None:
    client = signed_in(people["ada"])
    answer: Any = client.post("/settings/people/ada/", {"action": "close"}, follow=True)
    assert "only administrator" in answer.content.decode()
    people["ada"].refresh_from_db()
    assert people["ada"].is_active


@pytest.mark.parametrize("path", ["/settings/people/", "/settings/people/add/", "/settings/people/ada/"])
def test_people_are_for_administrators_alone(people: dict[str, User], path: str) -> None:
    answer = signed_in(people["alice"]).get(path)
    assert answer.status_code == 403
    assert "req_" in answer.content.decode()
    assert signed_in(people["alice"]).post(path, {"role": "admin"}).status_code in {403, 405}
    assert not RoleGrant.objects.filter(user__username="alice", role="admin").exists()


def test_a_form_that_is_refused_keeps_what_was_typed(people: dict[str, User]) -> None:
    body = (
        signed_in(people["ada"])
        .post("/settings/people/add/", {"username": "dora", "full_name": "Dora Diaz", "password": "short"})
        .content.decode()
    )
    assert 'value="Dora Diaz"' in body
    assert "too short" in body
    assert not User.objects.filter(username="dora").exists()


def test_roles_say_what_they_open_and_who_holds_them(people: dict[str, User]) -> None:
    carol = create_user(principal=SITE, username="carol", password=None)
    grant_role(principal=SITE, user=carol, role=Role.COMPLIANCE_MANAGER)
    for reader in (people["ada"], carol):
        page = signed_in(reader).get("/settings/roles/").content.decode()
        assert "Approve what somebody else asks for" in page
        assert "carol" in page
    assert signed_in(people["alice"]).get("/settings/roles/").status_code == 403


def test_every_capability_and_role_has_its_words() -> None:
    assert set(CAPABILITY_WORDS) == set(Capability)
    assert set(ROLE_WORDS) == set(Role)


def test_an_administrator_finds_tokens_that_nobody_uses_and_revokes_one(people: dict[str, User]) -> None:
    alice = people["alice"]
    create_api_token(
        principal=principal_for_user(user=alice), owner=alice, name="collector", scopes=[Capability.TELEMETRY_INGEST]
    )
    assert signed_in(alice).get("/settings/tokens/").status_code == 403
    client = signed_in(people["ada"])
    assert "collector" in client.get("/settings/tokens/?state=active&use=never").content.decode()
    assert "collector" not in client.get("/settings/tokens/?state=expired&state=revoked").content.decode()
    answer = client.post(f"/settings/account/tokens/{ApiToken.objects.get().pk}/revoke/")
    assert answer["Location"] == "/settings/people/alice/"
    assert "collector" in client.get("/settings/tokens/?state=revoked").content.decode()
