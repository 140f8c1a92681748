"""Ways around signing in and permissions that an attacker with the source would try."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.data import Capability, ProviderKind, Role, system_principal
from accounts.models import SignInSession, User
from accounts.selectors import principal_for_user
from accounts.services import (
    SignInRefusedError,
    Told,
    admit,
    create_api_token,
    create_user,
    grant_role,
    save_provider,
    save_sign_in_policy,
    set_break_glass,
    sign_in_failed,
    sign_in_is_locked,
)
from core.parsing import InputRefusedError

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
SECRET = "a long pass phrase"
ISSUER = {"issuer": "https://login.example.org", "client_id": "assay", "links_by_mail": True}


def person(name: str, *roles: Role, **more: Any) -> User:
    user = create_user(principal=SITE, username=name, password=SECRET, **more)
    for role in roles:
        grant_role(principal=SITE, user=user, role=role)
    return user


def test_an_account_for_emergencies_is_opened_by_no_provider() -> None:
    glass = person("glass", Role.ADMIN, email="glass@example.org")
    set_break_glass(principal=SITE, user=glass, is_break_glass=True)
    provider = save_provider(
        principal=SITE,
        slug="login",
        name="Login",
        kind=ProviderKind.OIDC,
        configuration=ISSUER,
        secret="x",
    )
    told = Told(subject="s-1", username="glass", mail="Glass@example.org", mail_is_confirmed=True)
    with pytest.raises(SignInRefusedError, match="no provider opens"):
        admit(provider=provider, told=told)
    # Neither when it became one after it had been linked.
    nora = person("nora", email="nora@example.org")
    linked = Told(subject="s-2", username="nora", mail="nora@example.org", mail_is_confirmed=True)
    assert admit(provider=provider, told=linked)[0] == nora
    set_break_glass(principal=SITE, user=nora, is_break_glass=True)
    with pytest.raises(SignInRefusedError, match="never by a provider"):
        admit(provider=provider, told=linked)


def test_an_administrator_makes_no_token_that_approves_in_another_persons_name() -> None:
    ada, bob = person("ada", Role.ADMIN), person("bob", Role.APPROVER)
    with pytest.raises(InputRefusedError, match="in another person's name"):
        create_api_token(
            principal=principal_for_user(user=ada),
            owner=bob,
            name="puppet",
            scopes=[Capability.APPROVE, Capability.OPERATIONS_VIEW],
        )
    create_api_token(principal=principal_for_user(user=bob), owner=bob, name="own", scopes=[Capability.APPROVE])


def test_guesses_count_for_a_name_however_it_is_written() -> None:
    for number in range(8):
        sign_in_failed(username=("nora", "Nora", " NORA")[number % 3], address=f"203.0.113.{number}")
    for name in ("nora", "nOrA", "NORA "):
        assert sign_in_is_locked(username=name, address="198.51.100.1")
    assert not sign_in_is_locked(username="nor", address="198.51.100.1")


def test_whoever_removes_the_second_factor_that_their_role_asks_for_sets_up_another_first() -> None:
    ada = person("ada", Role.ADMIN)
    client = Client()
    assert client.post("/sign-in/", {"username": "ada", "password": SECRET}).status_code == 302
    save_sign_in_policy(
        principal=SITE,
        second_factor_roles=[Role.ADMIN],
        local_sign_in="everybody",
        idle_minutes=60,
        life_hours=12,
        fresh_minutes=15,
    )
    Authenticator.objects.create(user=ada, type=Authenticator.Type.TOTP, data={"secret": "x"})
    assert client.get("/settings/people/").status_code == 200
    client.post("/settings/account/factors/code/remove/")
    assert not Authenticator.objects.exists()
    assert client.get("/settings/people/")["Location"] == "/settings/account/factors/"
    assert client.get("/api/v1/users/").status_code == 403


def test_what_was_shown_to_somebody_is_kept_by_no_browser_and_no_proxy() -> None:
    person("ada", Role.ADMIN)
    client = Client()
    client.post("/sign-in/", {"username": "ada", "password": SECRET})
    for path in ("/settings/people/", "/settings/people/?format=csv", "/api/v1/users/"):
        assert client.get(path)["Cache-Control"] == "private, no-store", path
    token = create_api_token(principal=SITE, owner=User.objects.get(), name="x", scopes=[Capability.SITE_ADMIN])[1]
    answer = Client().get("/api/v1/users/", headers={"Authorization": f"Bearer {token}"})
    assert answer["Cache-Control"] == "private, no-store"


def test_signing_in_changes_the_key_of_the_session() -> None:
    person("ada", Role.ADMIN)
    client = Client()
    session = client.session
    session["planted"] = "by whoever sent the cookie"
    session.save()
    planted = session.session_key
    client.post("/sign-in/", {"username": "ada", "password": SECRET})
    assert SignInSession.objects.get().session_key == client.session.session_key != planted
    stolen = Client()
    stolen.cookies["sessionid"] = str(planted)
    assert stolen.get("/settings/people/").status_code == 302


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "https:evil.example"],
)
def test_nobody_is_led_elsewhere_after_signing_in(elsewhere: str) -> None:
    person("ada", Role.ADMIN)
    client = Client()
    answer = client.post("/sign-in/", {"username": "ada", "password": SECRET, "next": elsewhere})
    assert answer["Location"] == "/"
    again = client.get("/sign-in/again/", {"next": elsewhere})
    assert "evil" not in again["Location"]
    assert "javascript" not in again["Location"]
