"""SAML against an identity provider made with pysaml2: signed assertions admitted, everything else refused."""

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.test import Client
from saml2 import BINDING_HTTP_REDIRECT
from saml2.xmldsig import SIG_RSA_SHA1

from accounts.models import IdentityProvider, RoleGrant, User
from accounts.services import try_provider
from tests.accounts.saml_provider import Idp, Keys, all_keys, answered, begin, deliver, maker, why, written_down

pytestmark = [pytest.mark.django_db, pytest.mark.integration]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return all_keys(tmp_path_factory.mktemp("saml"))


@pytest.fixture
def provider(keys: Keys) -> IdentityProvider:
    return written_down(keys)


@pytest.fixture
def idp(provider: IdentityProvider, keys: Keys, tmp_path: Path) -> Idp:
    return maker(keys, tmp_path)


def test_a_signed_assertion_signs_in_with_the_rights_of_its_groups(provider: IdentityProvider, idp: Idp) -> None:
    assert try_provider(provider=provider).good
    client = Client()
    answer = deliver(client, answered(idp("idp"), begin(client)))
    assert answer.status_code == 302, answer.content.decode()
    assert answer["Location"] == "/settings/account/"
    sara = User.objects.get(username="sara")
    assert (sara.get_full_name(), sara.email) == ("Sara Sand", "sara@example.org")
    assert RoleGrant.objects.get(user=sara).source == "provider:corp"
    assert client.get("/settings/account/").status_code == 200


def test_a_foreign_key_and_a_changed_assertion_are_refused(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    assert deliver(client, answered(idp("foreign"), begin(client))).status_code == 403
    assert "Signature validation failed" in why()
    good = base64.b64decode(answered(idp("idp"), begin(client))).decode()
    changed = base64.b64encode(good.replace("Sara Sand", "Someone Else").encode()).decode()
    assert deliver(client, changed).status_code == 403
    assert "Signature validation failed" in why()
    unsigned = re.sub(r"<(\w+:)?Signature.*?</(\w+:)?Signature>", "", good, flags=re.DOTALL)
    assert deliver(client, base64.b64encode(unsigned.encode()).decode()).status_code == 403
    assert "not signed" in why() or "No Signature" in why()
    weak = answered(idp("idp"), begin(client), sign_alg=SIG_RSA_SHA1)
    assert deliver(client, weak).status_code == 403
    assert "Deprecated signature" in why()
    assert not User.objects.exists()


def test_an_expired_assertion_and_one_of_the_future_are_refused(provider: IdentityProvider, idp: Idp) -> None:
    for hours in (-1, 1):
        client = Client()
        asked = begin(client)
        with time_machine.travel(datetime.now(tz=UTC) + timedelta(hours=hours)):
            response = answered(idp("idp"), asked)
        assert deliver(client, response).status_code == 403
        assert "expired" in why() or "future" in why() or "not yet valid" in why(), why()
    assert not User.objects.exists()


def test_an_assertion_is_good_once_and_in_the_browser_that_asked(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    response = answered(idp("idp"), begin(client))
    assert deliver(Client(), response).status_code == 403
    assert deliver(client, response).status_code == 302
    assert deliver(client, response).status_code == 403


def test_an_assertion_for_another_audience_or_place_is_refused(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    other = answered(idp("idp"), begin(client), sp_entity_id="https://other.example.org/metadata")
    assert deliver(client, other).status_code == 403
    assert "audience" in why()
    elsewhere = answered(idp("idp"), begin(client), destination="https://other.example.org/acs")
    assert deliver(client, elsewhere).status_code == 403
    assert "received at" in why()
    assert not User.objects.exists()


def test_an_assertion_that_nobody_asked_for_is_refused(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    unasked = answered(idp("idp"), begin(Client()), in_response_to=None)
    assert deliver(client, unasked).status_code == 403
    assert client.post("/sign-in/saml/corp/answer/", {"SAMLResponse": "no base64"}).status_code == 302
    assert client.get("/sign-in/saml/corp/finish/").status_code == 403
    assert client.get("/sign-in/saml/corp/answer/").status_code == 405
    assert client.get("/sign-in/saml/unheard-of/").status_code == 404


def test_an_old_session_of_the_provider_proves_nothing_now(provider: IdentityProvider, idp: Idp) -> None:
    client, server = Client(), idp("idp")
    an_hour_ago = datetime.now(tz=UTC) - timedelta(hours=1)
    assert deliver(client, answered(server, begin(client), proved_at=an_hour_ago)).status_code == 302
    token = {"name": "x", "scopes": ["operations.view"]}
    refused = client.post("/api/v1/tokens/", token, content_type="application/json")
    assert refused.status_code == 403
    assert "ask again who you are" in refused.json()["detail"]
    page = client.get("/sign-in/again/").content.decode()
    assert "/sign-in/saml/corp/?next=%2F&amp;again=1" in page
    asked = parse_qs(urlsplit(client.get("/sign-in/saml/corp/?next=%2F&again=1")["Location"]).query)["SAMLRequest"][0]
    assert server.parse_authn_request(asked, BINDING_HTTP_REDIRECT).message.force_authn == "true"
    assert deliver(client, answered(server, asked)).status_code == 302
    assert client.post("/api/v1/tokens/", token, content_type="application/json").status_code == 201


def test_an_expired_signing_certificate_is_told_when_the_provider_is_tried(
    provider: IdentityProvider, keys: Keys
) -> None:
    provider.configuration["certificate"] = "".join(Path(keys["old"][1]).read_text().splitlines()[1:-1])
    provider.save()
    tried = try_provider(provider=provider)
    assert not tried.good
    assert "expired" in tried.lines[0]
