"""OpenID Connect against a provider that runs, over real HTTP: admitted, refused, and rights that follow groups."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import time_machine
from django.test import Client

from accounts.data import ProviderKind, Role, system_principal
from accounts.models import IdentityProvider, RoleGrant, SignInSession, User
from accounts.services import create_team, create_user, grant_role, save_provider
from ledger.selectors import entries
from tests.accounts.oidc_provider import running_provider

pytestmark = [pytest.mark.django_db, pytest.mark.integration]
SITE = system_principal("test")


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running_provider() as address:
        yield address


@pytest.fixture
def provider(issuer: str) -> IdentityProvider:
    create_team(principal=SITE, slug="inference", name="Inference")
    return save_provider(
        principal=SITE,
        slug="okta",
        name="Okta",
        kind=ProviderKind.OIDC,
        configuration={"issuer": issuer, "client_id": "assay", "private_network": True},
        secret="not-a-secret",
        mappings=[("SRE", "responder", "inference"), ("admins", "admin", ""), ("People", "viewer", "")],
    )


def told(issuer: str, subject: str, **claims: Any) -> None:
    answer = requests.put(f"{issuer}/users/{subject}", json=claims, timeout=10)
    assert answer.status_code == 204, answer.text


def sign_in(subject: str, client: Client | None = None, slug: str = "okta") -> Any:
    """Go the way of a browser: to the provider, through its form, and back with the code."""
    client = client or Client()
    away = client.get(f"/sign-in/with/{slug}/")
    assert away.status_code == 302, away.content.decode()
    back = requests.post(away["Location"], data={"sub": subject}, allow_redirects=False, timeout=10)
    parts = urlsplit(back.headers["Location"])
    return client, client.get(f"{parts.path}?{parts.query}")


def roles_of(username: str) -> set[tuple[str, str, str]]:
    grants = RoleGrant.objects.filter(user__username=username).select_related("team")
    return {(one.role, one.team.slug if one.team else "", one.source) for one in grants}


def followed(username: str) -> list[dict[str, Any]]:
    rows = entries(types=["access.followed_groups"], subjects=[f"user:{username}"]).order_by("pk")
    return [one.payload for one in rows if one.payload]


def test_a_newcomer_gets_an_account_with_the_rights_of_their_groups(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-1", preferred_username="nora", name="Nora Noon", email="nora@example.org", groups=["sre", "people"])
    client, answer = sign_in("u-1")
    assert answer.status_code == 302
    assert answer["Location"] == "/"
    nora = User.objects.get(username="nora")
    assert nora.get_full_name() == "Nora Noon"
    assert not nora.has_usable_password()
    assert roles_of("nora") == {("responder", "inference", "provider:okta"), ("viewer", "", "provider:okta")}
    assert nora.teams.get().slug == "inference"
    assert client.get("/settings/account/").status_code == 200
    (entry,) = entries(types=["access.signed_in"])
    assert entry.payload is not None
    assert entry.payload["method"] == "provider:okta"
    assert SignInSession.objects.get().method == "provider:okta"


def test_rights_go_with_the_groups_and_what_was_given_by_hand_stays(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-2", preferred_username="omar", groups=["SRE", "People"])
    sign_in("u-2")
    omar = User.objects.get(username="omar")
    grant_role(principal=SITE, user=omar, role=Role.APPROVER)
    told(issuer, "u-2", preferred_username="omar", groups=[])
    sign_in("u-2")
    assert roles_of("omar") == {("approver", "", "")}
    assert not omar.teams.exists()
    assert followed("omar")[-1]["taken"] == ["responder (inference)", "viewer (site)", "member (inference)"]


def test_a_mapping_never_removes_the_last_administrator(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-3", preferred_username="petra", groups=["admins"])
    sign_in("u-3")
    told(issuer, "u-3", preferred_username="petra", groups=[])
    client, _ = sign_in("u-3")
    assert roles_of("petra") == {("admin", "", "provider:okta")}
    assert "only administrator" in client.get("/").content.decode()
    assert followed("petra")[-1]["refused"] == ["admin (site)"]
    grant_role(principal=SITE, user=create_user(principal=SITE, username="ada", password=None), role=Role.ADMIN)
    sign_in("u-3")
    assert roles_of("petra") == set()


def test_a_closed_account_and_a_stranger_are_refused_with_words(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-4", preferred_username="quin")
    sign_in("u-4")
    User.objects.filter(username="quin").update(is_active=False)
    client, answer = sign_in("u-4")
    assert answer.status_code == 403
    assert "account here is closed" in answer.content.decode()
    assert client.get("/settings/account/").status_code == 302
    provider.configuration["creates_people"] = False
    provider.save()
    told(issuer, "u-5", preferred_username="rosa")
    _, answer = sign_in("u-5")
    assert "no account here yet" in answer.content.decode()
    assert not User.objects.filter(username="rosa").exists()


def test_a_name_that_is_taken_belongs_to_whoever_has_it(issuer: str, provider: IdentityProvider) -> None:
    ada = create_user(principal=SITE, username="ada", password=None, email="ada@example.org")
    told(issuer, "u-6", preferred_username="ada", email="ada@example.org", email_verified=True)
    sign_in("u-6")
    assert User.objects.filter(username="ada-2").exists()
    assert not ada.identities.exists()


def test_a_confirmed_mail_address_links_where_that_is_allowed(issuer: str, provider: IdentityProvider) -> None:
    ada = create_user(principal=SITE, username="ada", password=None, email="ada@example.org")
    provider.configuration["links_by_mail"] = True
    provider.save()
    told(issuer, "u-7", preferred_username="mallory", email="ada@example.org", email_verified=False)
    sign_in("u-7")
    assert not ada.identities.exists()
    told(issuer, "u-8", preferred_username="ada", email="ada@example.org", email_verified=True)
    sign_in("u-8")
    assert ada.identities.get().subject == "u-8"


def test_a_provider_that_is_down_leaves_the_local_way(issuer: str, provider: IdentityProvider) -> None:
    provider.configuration["issuer"] = "http://127.0.0.1:1"
    provider.save()
    answer = Client().get("/sign-in/with/okta/")
    assert answer.status_code == 403
    assert "does not answer" in answer.content.decode()
    assert "break-glass" in answer.content.decode()
    provider.refresh_from_db()
    assert "Connection" in provider.last_error


def test_a_private_provider_is_not_reached_unless_its_set_up_says_so(issuer: str, provider: IdentityProvider) -> None:
    provider.configuration["private_network"] = False
    provider.save()
    assert Client().get("/sign-in/with/okta/").status_code == 403
    provider.refresh_from_db()
    assert "not public" in provider.last_error


def test_an_answer_that_nobody_asked_for_opens_nothing(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-9", preferred_username="sven")
    client = Client()
    away = client.get("/sign-in/with/okta/")
    back = requests.post(away["Location"], data={"sub": "u-9"}, allow_redirects=False, timeout=10)
    parts = urlsplit(back.headers["Location"])
    stolen = Client().get(f"{parts.path}?{parts.query}")
    assert stolen.status_code == 403
    assert client.get(f"{parts.path}?{parts.query}").status_code == 302
    assert client.get(f"{parts.path}?{parts.query}").status_code == 403


def test_a_token_for_somebody_elses_site_is_refused(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-10", preferred_username="tom")
    client = Client()
    away = client.get("/sign-in/with/okta/")
    assert parse_qs(urlsplit(away["Location"]).query)["code_challenge_method"] == ["S256"]
    back = requests.post(away["Location"], data={"sub": "u-10"}, allow_redirects=False, timeout=10)
    provider.configuration["client_id"] = "another-site"
    provider.save()
    parts = urlsplit(back.headers["Location"])
    assert client.get(f"{parts.path}?{parts.query}").status_code == 403
    assert not User.objects.filter(username="tom").exists()


def test_a_clock_that_is_wrong_is_told_to_the_administrator(issuer: str, provider: IdentityProvider) -> None:
    told(issuer, "u-11", preferred_username="uma")
    client = Client()
    away = client.get("/sign-in/with/okta/")
    back = requests.post(away["Location"], data={"sub": "u-11"}, allow_redirects=False, timeout=10)
    parts = urlsplit(back.headers["Location"])
    with time_machine.travel(datetime.now(tz=UTC) - timedelta(minutes=10)):
        answer = client.get(f"{parts.path}?{parts.query}")
    assert answer.status_code == 403
    assert "an administrator can see why" in answer.content.decode()
    provider.refresh_from_db()
    assert "set the clocks of both machines right" in provider.last_error
    assert not User.objects.filter(username="uma").exists()


def test_a_paused_provider_lets_nobody_in(issuer: str, provider: IdentityProvider) -> None:
    IdentityProvider.objects.update(state=IdentityProvider.State.PAUSED)
    assert Client().get("/sign-in/with/okta/").status_code == 404
    assert "Okta" not in Client().get("/sign-in/").content.decode()
