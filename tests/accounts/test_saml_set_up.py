"""SAML beside the sign-in itself: encryption, single logout, metadata, keys that change, clocks, certificates."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from saml2 import BINDING_HTTP_REDIRECT
from saml2.entity import Entity
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.xmldsig import SIG_RSA_SHA256

from accounts.data import ProviderKind, Role
from accounts.models import IdentityProvider, ProviderKey, SignInSession
from accounts.services import (
    configuration_with_metadata,
    create_user,
    drop_old_key,
    follow_all_metadata,
    grant_role,
    prepare_next_key,
    save_provider,
    try_provider,
    use_next_key,
)
from core.parsing import InputRefusedError
from ledger.selectors import entries
from tests.accounts.saml_provider import (
    ENTITY,
    SITE,
    SLO,
    SSO,
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


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return all_keys(tmp_path_factory.mktemp("saml"))


@pytest.fixture
def provider(keys: Keys) -> IdentityProvider:
    return written_down(keys)


@pytest.fixture
def idp(provider: IdentityProvider, keys: Keys, tmp_path: Path) -> Idp:
    return maker(keys, tmp_path)


def signed_in(idp: Idp, **changes: Any) -> Client:
    client = Client()
    answer = deliver(client, answered(idp("idp"), begin(client), **changes))
    assert answer.status_code == 302, (answer.content.decode(), why())
    return client


def is_in(client: Client) -> bool:
    return bool(client.get("/settings/account/").status_code == 200)


def administrator() -> Client:
    ada = create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=ada, role=Role.ADMIN)
    client = Client()
    client.force_login(ada)
    return client


def test_encrypted_assertions_are_opened_also_while_keys_change(idp: Idp, provider: IdentityProvider) -> None:
    encrypted: dict[str, Any] = {"encrypt_assertion": True, "encrypted_advice_attributes": False}
    server = idp("idp")
    assert is_in(signed_in(idp, **encrypted))
    prepare_next_key(principal=SITE, provider=provider)
    told = Client().get("/sign-in/saml/corp/metadata/").content.decode()
    assert told.count("<ds:X509Certificate>") == 4
    use_next_key(principal=SITE, provider=provider)
    client = Client()
    # This provider has not read the metadata since, and encrypts for the key of before.
    assert deliver(client, answered(server, begin(client), **encrypted)).status_code == 302
    assert is_in(client)
    assert is_in(signed_in(idp, **encrypted))
    assert drop_old_key(principal=SITE, provider=provider)
    client = Client()
    assert deliver(client, answered(server, begin(client), **encrypted)).status_code == 403
    assert "let the provider read this site's metadata again" in why()


def test_an_assertion_that_must_be_encrypted_and_is_not_is_refused(keys: Keys, tmp_path: Path) -> None:
    written_down(keys, must_encrypt=True)
    client = Client()
    assert deliver(client, answered(maker(keys, tmp_path)("idp"), begin(client))).status_code == 403
    assert "encrypt assertions with the certificate of this site's metadata" in why()


def test_signing_out_here_ends_the_providers_session_too(idp: Idp) -> None:
    client, server = signed_in(idp), idp("idp")
    page = client.post("/sign-out/")
    assert page.status_code == 200
    assert SIGN_OUT in page.content.decode()
    assert not is_in(client)
    away = client.get(SIGN_OUT)
    assert away["Location"].startswith(SLO)
    told = {key: value[0] for key, value in parse_qs(urlsplit(away["Location"]).query).items()}
    asked = server.parse_logout_request(
        told["SAMLRequest"],
        BINDING_HTTP_REDIRECT,
        relay_state=told.get("RelayState"),
        sigalg=told["SigAlg"],
        signature=told["Signature"],
    )
    assert asked.message.name_id.text == "n-1"
    assert asked.message.session_index[0].text == SignInSession.objects.get().session_index
    back = server.create_logout_response(asked.message, [BINDING_HTTP_REDIRECT])
    assert "confirm" in _end(client, redirected(server, str(back), "SAMLResponse", sign=False))
    page = client.post("/sign-out/")
    assert _end(client, redirected(server, str(back), "SAMLResponse")).count("did not confirm") == 1


def test_the_provider_confirms_the_end_once(idp: Idp) -> None:
    client, server = signed_in(idp), idp("idp")
    client.post("/sign-out/")
    told = parse_qs(urlsplit(client.get(SIGN_OUT)["Location"]).query)
    asked = server.parse_logout_request(told["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
    back = server.create_logout_response(asked.message, [BINDING_HTTP_REDIRECT])
    address = redirected(server, str(back), "SAMLResponse")
    assert "You are signed out here and at Corporate sign-in." in _end(client, address)
    assert "did not confirm" in _end(client, address)


def test_the_provider_ends_the_sessions_that_it_names(idp: Idp) -> None:
    first, second, server = signed_in(idp), signed_in(idp), idp("idp")
    index = SignInSession.objects.order_by("-signed_in_at")[0].session_index
    # The message may come by any browser: which sessions end is what it says, not who brings it.
    away = Client().get(redirected(server, logout_request(server, index), "SAMLRequest"))
    assert away["Location"].startswith(SLO)
    told = parse_qs(urlsplit(away["Location"]).query)
    assert {"SAMLResponse", "Signature", "SigAlg"} <= set(told)
    assert is_in(first)
    assert not is_in(second)
    first.get(redirected(server, logout_request(server, ""), "SAMLRequest"))
    assert not is_in(first)
    ended = [one for one in entries(types=["audit.action"]) if "account.sessions_ended" in str(one.payload)]
    assert len(ended) == 2


def test_nobody_else_ends_sessions(idp: Idp) -> None:
    client, server, foreign = signed_in(idp), idp("idp"), idp("foreign")
    request = logout_request(server, "")
    for address in (
        redirected(server, request, "SAMLRequest", sign=False),
        redirected(foreign, request, "SAMLRequest"),
        redirected(server, logout_request(server, "", issuer="https://other.example.org/"), "SAMLRequest"),
    ):
        assert client.get(address).status_code == 403
        assert is_in(client)
    with time_machine.travel(datetime.now(tz=UTC) - timedelta(hours=1)):
        stale = logout_request(server, "")
    assert client.get(redirected(server, stale, "SAMLRequest")).status_code == 403
    assert "clocks" in why()
    assert client.post(SIGN_OUT).status_code == 403
    assert client.get(SIGN_OUT)["Location"] == "/sign-in/"
    assert is_in(client)


def test_clocks_may_differ_a_little_and_the_refusal_says_by_how_much(idp: Idp, keys: Keys) -> None:
    server = idp("idp")
    for seconds, admitted in ((100, True), (-390, True), (200, False), (-600, False)):
        client = Client()
        asked = begin(client)
        with time_machine.travel(datetime.now(tz=UTC) + timedelta(seconds=seconds)):
            response = answered(server, asked)
        assert (deliver(client, response).status_code == 302) is admitted, (seconds, why())
    assert "a difference of 120 seconds is allowed" in why()
    written_down(keys, clock_tolerance_seconds=300)
    client = Client()
    asked = begin(client)
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(seconds=200)):
        response = answered(server, asked)
    assert deliver(client, response).status_code == 302
    with pytest.raises(InputRefusedError):
        written_down(keys, clock_tolerance_seconds=301)


def test_expired_and_foreign_certificates_are_refused_with_what_to_change(
    idp: Idp, provider: IdentityProvider, keys: Keys
) -> None:
    client = Client()
    assert deliver(client, answered(idp("foreign"), begin(client))).status_code == 403
    assert "CN=foreign" in why()
    assert "upload the provider's present metadata" in why()
    expired = Path(keys["old"][1]).read_text()
    with pytest.raises(InputRefusedError, match="it has expired on"):
        written_down(keys, certificate=expired)
    both = written_down(keys, certificate=expired + Path(keys["idp"][1]).read_text())
    assert deliver(client, answered(idp("old"), begin(client))).status_code == 403
    assert "CN=old" in why()
    assert "has expired on" in why()
    assert is_in(signed_in(idp))
    both.configuration["certificate"] = both.configuration["certificate"].split()[0]
    both.save()
    assert deliver(client, answered(idp("idp"), begin(client))).status_code == 403
    assert "Every certificate that is written down for it has expired" in why()


def test_a_provider_is_set_up_by_uploading_its_metadata(keys: Keys) -> None:
    admin = administrator()
    form = {"slug": "corp", "name": "Corp", "clock_tolerance_seconds": "120", "groups_attribute": "groups"}
    form |= {"mail_attribute": "mail", "name_attribute": "displayName"}
    form |= {"mappings": "SRE: responder"}
    path = "/settings/sign-in/providers/add/saml/"
    bad = admin.post(path, {**form, "metadata": SimpleUploadedFile("m.xml", b"<!DOCTYPE a []><a/>")})
    assert "SAML metadata, as XML" in bad.content.decode()
    good = SimpleUploadedFile("m.xml", metadata_of(keys, "idp"))
    answer = admin.post(path, {**form, "metadata": good})
    assert answer.status_code == 302, answer.content.decode()
    kept = IdentityProvider.objects.get().configuration
    assert (kept["entity_id"], kept["sso_url"], kept["slo_url"]) == (ENTITY, SSO, SLO)
    page = admin.get("/settings/sign-in/providers/corp/").content.decode()
    assert "CN=idp" in page
    assert "Announce the next key" in page
    for step, states in (("announce-key", {"current", "next"}), ("use-key", {"current", "old"})):
        admin.post("/settings/sign-in/providers/corp/", {"step": step})
        assert set(ProviderKey.objects.values_list("state", flat=True)) == states
    admin.post("/settings/sign-in/providers/corp/", {"step": "drop-key"})
    assert ProviderKey.objects.get().state == "current"


def test_metadata_at_an_address_are_followed(keys: Keys, tmp_path: Path) -> None:
    served = {"content": metadata_of(keys, "idp")}
    with serving(served) as address:
        with pytest.raises(InputRefusedError, match="https"):
            _by_address(address, private=False)
        provider = _by_address(address, private=True)
        assert is_in(signed_in(maker(keys, tmp_path)))
        served["content"] = metadata_of(keys, "foreign")
        follow_all_metadata()
        client = Client()
        assert deliver(client, answered(maker(keys, tmp_path)("foreign"), begin(client))).status_code == 302
        changed = entries(types=["access.provider_changed"]).order_by("pk").last()
        assert changed is not None
        assert "CN=foreign" in str(changed.payload)
        served["content"] = b"<html>moved</html>"
        follow_all_metadata()
        assert "metadata were not followed" in why()
        tried = try_provider(provider=IdentityProvider.objects.get())
        assert not tried.good
        client = Client()
        assert deliver(client, answered(maker(keys, tmp_path)("foreign"), begin(client))).status_code == 302
    assert provider.configuration["metadata_url"] == address


def _by_address(address: str, *, private: bool) -> IdentityProvider:

    given = {"metadata_url": address, "private_network": private}
    full = configuration_with_metadata(kind=ProviderKind.SAML, configuration={**given, "private_network": True})
    full["private_network"] = private
    return save_provider(
        principal=SITE, slug="corp", name="Corporate sign-in", kind=ProviderKind.SAML, configuration=full
    )


@contextmanager
def serving(served: dict[str, bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served["content"])

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metadata"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def logout_request(server: Any, index: str, *, issuer: str = ENTITY) -> str:
    """Return a provider's request to end sessions."""
    _, message = server.create_logout_request(
        f"http://testserver{SIGN_OUT}",
        "http://testserver/sign-in/saml/corp/metadata/",
        name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text="n-1"),
        session_indexes=[index] if index else None,
        sign=False,
    )
    return str(message).replace(f">{ENTITY}<", f">{issuer}<")


def redirected(server: Entity, message: str, name: str, *, sign: bool = True) -> str:
    """Return the address to which a provider sends the browser with its message."""
    sent = server.apply_binding(
        BINDING_HTTP_REDIRECT,
        message,
        f"http://testserver{SIGN_OUT}",
        response=name == "SAMLResponse",
        sign=sign,
        sigalg=SIG_RSA_SHA256,
    )
    url = str(dict(sent["headers"])["Location"])
    return url.removeprefix("http://testserver")


def _end(client: Client, address: str) -> str:
    assert client.get(address)["Location"] == "/sign-in/"
    return client.get("/sign-in/").content.decode()
