"""Single logout by HTTP-POST against a provider made with pysaml2: signed within the message, both ways."""

import base64
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA1, SIG_RSA_SHA256

from accounts.models import IdentityProvider, SignInSession
from accounts.saml_metadata import read_metadata
from core.clock import database_now
from tests.accounts.saml_provider import (
    SLO,
    Idp,
    Keys,
    all_keys,
    answered,
    begin,
    deliver,
    maker,
    metadata_of,
    why,
    written_down,
)

pytestmark = [pytest.mark.django_db, pytest.mark.integration]
SIGN_OUT = "/sign-in/saml/corp/sign-out/"
SIGNED: dict[str, Any] = {"sign": True, "sign_alg": SIG_RSA_SHA256, "digest_alg": DIGEST_SHA256}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return all_keys(tmp_path_factory.mktemp("saml"))


@pytest.fixture
def provider(keys: Keys) -> IdentityProvider:
    return written_down(keys, slo_by_post=True)


@pytest.fixture
def idp(provider: IdentityProvider, keys: Keys, tmp_path: Path) -> Idp:
    return maker(keys, tmp_path)


def signed_in(server: Any, subject: str = "n-1") -> Client:
    client = Client()
    assert deliver(client, answered(server, begin(client), subject)).status_code == 302, why()
    return client


def is_in(client: Client) -> bool:
    return bool(client.get("/settings/account/").status_code == 200)


def request_to_end(server: Any, index: str = "", **changes: Any) -> str:
    _, message = server.create_logout_request(
        f"http://testserver{SIGN_OUT}",
        "http://testserver/sign-in/saml/corp/metadata/",
        name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text="n-1"),
        session_indexes=[index] if index else None,
        **{**SIGNED, **changes},
    )
    return str(message)


def post(client: Client, message: str, name: str = "SAMLRequest", **more: str) -> Any:
    return client.post(SIGN_OUT, {name: base64.b64encode(message.encode()).decode(), **more})


def form_of(answer: Any) -> dict[str, str]:
    """Return what a page posts to the provider; the page may post there, and nowhere else but here."""
    assert answer.status_code == 200, answer.content.decode()
    page = answer.content.decode()
    assert f'action="{SLO}" data-send' in page
    assert "form-action 'self' https:;" in f"{answer['Content-Security-Policy']};"
    return {
        name: unescape(value) for name, value in re.findall(r'hidden" name="(SAML\w+|Relay\w+)" value="(.*?)"', page)
    }


def test_a_posted_request_ends_every_session_of_the_name_and_is_answered(idp: Idp) -> None:
    server = idp("idp")
    first, second, other = signed_in(server), signed_in(server), signed_in(server, "n-2")
    # The provider's page posts from elsewhere: the browser sends no cookie of this site with it.
    sent = form_of(post(Client(), request_to_end(server), RelayState='a"b'))
    assert sent["RelayState"] == 'a"b'
    assert [is_in(one) for one in (first, second, other)] == [False, False, True]
    told = base64.b64decode(sent["SAMLResponse"]).decode()
    assert server.sec.correctly_signed_logout_response(told, must=True)
    assert server.parse_logout_request_response(sent["SAMLResponse"], BINDING_HTTP_POST).status_ok()
    third = signed_in(server)
    index = SignInSession.objects.order_by("-signed_in_at")[0].session_index
    fourth = signed_in(server)
    form_of(post(Client(), request_to_end(server, index)))
    assert [is_in(one) for one in (third, fourth)] == [False, True]


def test_signing_out_here_is_posted_to_the_provider_and_its_answer_taken(idp: Idp) -> None:
    server = idp("idp")
    client = signed_in(server)
    client.post("/sign-out/")
    assert not is_in(client)
    sent = form_of(client.get(SIGN_OUT))
    told = base64.b64decode(sent["SAMLRequest"]).decode()
    assert server.sec.correctly_signed_logout_request(told, must=True)
    asked = server.parse_logout_request(sent["SAMLRequest"], BINDING_HTTP_POST)
    assert asked.message.name_id.text == "n-1"
    assert asked.message.session_index[0].text == SignInSession.objects.get().session_index
    back = str(server.create_logout_response(asked.message, [BINDING_HTTP_POST], **SIGNED))
    # Posted without this site's cookie, then fetched with it.
    fetched = post(Client(), back, "SAMLResponse")["Location"]
    assert fetched.startswith(f"{SIGN_OUT}?answer=")
    assert client.get(fetched)["Location"] == "/sign-in/"
    assert "You are signed out here and at Corporate sign-in." in client.get("/sign-in/").content.decode()
    assert client.get(fetched)["Location"] == "/sign-in/"
    assert "did not confirm" in client.get("/sign-in/").content.decode()


def test_an_answer_to_another_browser_confirms_nothing(idp: Idp) -> None:
    server = idp("idp")
    client, other = signed_in(server), signed_in(server)
    backs = []
    for one in (client, other):
        one.post("/sign-out/")
        asked = server.parse_logout_request(form_of(one.get(SIGN_OUT))["SAMLRequest"], BINDING_HTTP_POST)
        backs.append(str(server.create_logout_response(asked.message, [BINDING_HTTP_POST], **SIGNED)))
    client.get(post(Client(), backs[1], "SAMLResponse")["Location"])
    assert "did not confirm" in client.get("/sign-in/").content.decode()
    other.get(f"{SIGN_OUT}?answer=forged")
    assert "did not confirm" in other.get("/sign-in/").content.decode()


def test_posted_messages_that_are_not_wholly_signed_end_nothing(idp: Idp) -> None:
    server, foreign = idp("idp"), idp("foreign")
    client = signed_in(server)
    good = request_to_end(server)
    signature = re.search(r"<(ns\d+):Signature .*?</\1:Signature>", good, re.DOTALL)
    assert signature is not None
    own = re.sub(r'ID="[^"]+"', 'ID="id-mine"', good.replace(signature.group(), ""), count=1)
    declared = good.find("<ns0:LogoutRequest")
    wrapped = own.replace(
        "</ns0:LogoutRequest>", f"<ns0:Extensions>{good[declared:]}</ns0:Extensions></ns0:LogoutRequest>"
    )
    with time_machine.travel(datetime.now(tz=UTC) - timedelta(hours=1)):
        stale = request_to_end(server)
    refusals = {
        request_to_end(server, sign=False): "let the provider sign it",
        request_to_end(foreign): "not signed with a certificate that is written down",
        good.replace(">n-1<", ">n-2<"): "not signed with a certificate",
        wrapped: "let the provider sign it",
        own.replace("<ns1:NameID", f"{signature.group()}<ns1:NameID"): "covers something else",
        request_to_end(server, sign_alg=SIG_RSA_SHA1): "RSA-SHA256 or better",
        stale: "clocks",
        "<a/>": "LogoutRequest was expected",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>": "",
    }
    for message, reason in refusals.items():
        assert post(client, message).status_code == 403, reason
        assert reason in why()
        assert is_in(client)
    assert client.post(SIGN_OUT, {"SAMLRequest": "no base64!"}).status_code == 403
    assert client.post(SIGN_OUT, {"SAMLRequest": "A" * 300_000}).status_code == 403
    assert client.post(SIGN_OUT).status_code == 403
    assert client.put(SIGN_OUT).status_code == 405
    assert is_in(client)


def test_metadata_say_which_way_the_provider_takes(keys: Keys) -> None:
    told = metadata_of(keys, "idp")
    assert read_metadata(told, entity_id="", now=database_now())["slo_by_post"] is False
    named = '<ns0:SingleLogoutService Binding="{}"'
    by_post = told.replace(named.format(BINDING_HTTP_REDIRECT).encode(), named.format(BINDING_HTTP_POST).encode())
    read = read_metadata(by_post, entity_id="", now=database_now())
    assert (read["slo_url"], read["slo_by_post"]) == (SLO, True)
    written_down(keys)
    ours = Client().get("/sign-in/saml/corp/metadata/").content.decode()
    assert [f":HTTP-{way}" in ours for way in ("Redirect", "POST")] == [True, True]
    assert ours.count("SingleLogoutService") == 2
