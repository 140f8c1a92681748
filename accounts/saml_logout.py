"""Single logout by SAML, by redirect and by post. Imported with its first message, for the library is heavy.

A redirect is signed in its address, a posted message within itself; either way nothing happens on a message that is
not signed with a certificate that is written down.
"""

import base64
import binascii
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import xmlsec
from allauth.socialaccount.providers.saml.utils import get_app_or_404
from django.contrib import messages
from django.contrib.auth import logout
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Words
from onelogin.saml2.logout_request import OneLogin_Saml2_Logout_Request
from onelogin.saml2.logout_response import OneLogin_Saml2_Logout_Response
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from accounts.data import system_principal
from accounts.models import IdentityProvider, ProviderKey, SignInSession
from accounts.saml_messages import holding_certificates, saml_auth, saml_configuration
from accounts.services import SIGNING_OUT, end_sessions_told, ensure_key

logger = logging.getLogger(__name__)
# How old a request to sign somebody out may be, beside what the clocks may differ.
LOGOUT_LIFE_SECONDS = 300
LONGEST_MESSAGE = 200_000
ASKED = "assay_sign_out_request"
# A posted answer comes without the session's cookie; what it said waits so long for the browser to fetch it.
ANSWER_SALT, ANSWER_LIFE_SECONDS = "accounts.saml_logout.answer", 60
SIGNATURES = {Words.RSA_SHA256, Words.RSA_SHA384, Words.RSA_SHA512}
DIGESTS = {Words.SHA256, Words.SHA384, Words.SHA512}
TRANSFORMS = {
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
}


@dataclass(frozen=True)
class Posted:
    """What is sent on by the browser's own post: the page that does it has no other content."""

    address: str
    fields: dict[str, str]


def sign_out(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Carry the end of a session to the provider, or from there to here. Raises ValueError for what is refused."""
    app = get_app_or_404(request, organization_slug)
    provider = get_object_or_404(IdentityProvider, slug=organization_slug)
    told = request.POST if request.method == "POST" else request.GET
    if "SAMLRequest" in told:
        return _ended_there(request, app, provider)
    if "SAMLResponse" in told and request.method == "POST":
        return _answered_by_post(request, app, provider)
    if "SAMLResponse" in told:
        return _answered(request, app, provider)
    if request.method == "POST":
        raise ValueError("A message to sign out was expected, and none was posted")
    if "answer" in told:
        return _answer_fetched(request, provider)
    return _end_there(request, app, provider)


def _end_there(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """Lead who has just signed out here to the provider, with a request of their own."""
    configuration = saml_configuration(provider)
    ended = SignInSession.objects.filter(pk=request.session.pop(SIGNING_OUT, 0)).first()
    if ended is None or ended.method != f"provider:{provider.slug}" or not configuration.slo_url:
        return redirect("accounts:login")
    key = _current_key(provider)
    auth = saml_auth(request, app, provider, key=key)
    named = {"name_id": ended.name_id, "session_index": ended.session_index or None, **ended.name_id_told}
    if configuration.slo_by_post:
        asked = OneLogin_Saml2_Logout_Request(auth.get_settings(), **named)
        request.session[ASKED] = asked.id
        return _posted(request, provider, _signed(key, asked.get_xml(), "SAMLRequest", configuration.slo_url))
    there = auth.logout(return_to="", **named)
    request.session[ASKED] = auth.get_last_request_id()
    return redirect(there)


def _answered(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """Say whether the provider has ended its session too, which it tells by redirect."""
    asked = request.session.pop(ASKED, "")
    auth = saml_auth(request, app, provider, key=_current_key(provider), signed=True)
    auth.process_slo(keep_local_session=True, request_id=asked or None)
    why = auth.get_last_error_reason() or ", ".join(auth.get_errors())
    return _say_answer(request, provider, why if asked else "nobody here asked for it")


def _answered_by_post(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """Judge a posted answer, and let the browser fetch what came of it: only then is its session known."""
    auth = saml_auth(request, app, provider)
    text = _message(request, "SAMLResponse")
    _ensure_signed(OneLogin_Saml2_XML.to_etree(text), provider, "LogoutResponse")
    answer = OneLogin_Saml2_Logout_Response(auth.get_settings(), base64.b64encode(text).decode())
    why = "" if answer.is_valid(_asked(request)) else str(answer.get_error())
    if not why and answer.get_status() != Words.STATUS_SUCCESS:
        why = f"it says {answer.get_status()}"
    told = signing.dumps([provider.slug, str(answer.get_in_response_to() or ""), why[:300]], salt=ANSWER_SALT)
    return redirect(f"{reverse('saml_sls', args=[provider.slug])}?answer={told}")


def _answer_fetched(request: HttpRequest, provider: IdentityProvider) -> HttpResponse:
    asked = request.session.pop(ASKED, "")
    try:
        slug, answers, why = signing.loads(request.GET["answer"], salt=ANSWER_SALT, max_age=ANSWER_LIFE_SECONDS)
    except signing.BadSignature:
        slug, answers, why = "", "", "what it said was not kept here"
    fits = bool(asked) and (slug, answers) == (provider.slug, asked)
    return _say_answer(request, provider, why if fits else why or "nobody here asked for it")


def _say_answer(request: HttpRequest, provider: IdentityProvider, why: str) -> HttpResponse:
    if why:
        logger.warning("the end of a session at %s was not confirmed: %s", provider.slug, why)
        messages.warning(request, f"You are signed out here, but {provider} did not confirm that you are there.")
    else:
        messages.success(request, f"You are signed out here and at {provider}.")
    return redirect("accounts:login")


def _ended_there(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """End the sessions that the provider names, and tell it so, in the way that it takes."""
    key, configuration = _current_key(provider), saml_configuration(provider)
    auth = saml_auth(request, app, provider, key=key, signed=request.method == "GET")
    asked = _requested(request, auth, provider)
    age = OneLogin_Saml2_Utils.now() - OneLogin_Saml2_Utils.parse_SAML_to_time(asked.get("IssueInstant"))
    tolerance = configuration.clock_tolerance_seconds
    if not -tolerance <= age <= LOGOUT_LIFE_SECONDS + tolerance:
        raise ValueError(f"The request to sign out is {age} seconds old: set the clocks of both machines right")
    here = request.session.session_key
    ended = end_sessions_told(
        principal=system_principal(provider.slug),
        provider=provider,
        name_id=str(OneLogin_Saml2_Logout_Request.get_nameid(asked, key.private_key)),
        indexes=[str(one) for one in OneLogin_Saml2_Logout_Request.get_session_indexes(asked)],
    )
    if here in ended:
        logout(request)
    if not configuration.slo_url:
        return redirect("accounts:login")
    if configuration.slo_by_post:
        answer = OneLogin_Saml2_Logout_Response(auth.get_settings())
        answer.build(asked.get("ID"))
        sent = _signed(key, answer.get_xml(), "SAMLResponse", configuration.slo_url)
        return _posted(request, provider, sent, relay_state=_relay_state(request))
    return redirect(_redirected_answer(request, auth, asked.get("ID")))


def _requested(request: HttpRequest, auth: OneLogin_Saml2_Auth, provider: IdentityProvider) -> Any:
    """Return a request to end sessions, read from a message whose signature and place were judged."""
    if request.method == "POST":
        text = _message(request, "SAMLRequest")
        _ensure_signed(OneLogin_Saml2_XML.to_etree(text), provider, "LogoutRequest")
        judged = OneLogin_Saml2_Logout_Request(auth.get_settings(), base64.b64encode(text).decode())
        why = ""
    else:
        judged = OneLogin_Saml2_Logout_Request(auth.get_settings(), request.GET["SAMLRequest"])
        why = "" if auth.validate_request_signature(request.GET) else str(auth.get_last_error_reason())
    if not why and not judged.is_valid(_asked(request)):
        why = str(judged.get_error())
    if why:
        raise ValueError(f"The request to sign out was refused: {why}")
    return OneLogin_Saml2_XML.to_etree(judged.get_xml())


def _redirected_answer(request: HttpRequest, auth: OneLogin_Saml2_Auth, asked: str) -> str:
    answer = OneLogin_Saml2_Logout_Response(auth.get_settings())
    answer.build(asked)
    parameters = {"SAMLResponse": answer.get_response()}
    if relay := _relay_state(request):
        parameters["RelayState"] = relay
    auth.add_response_signature(parameters, Words.RSA_SHA256)
    return str(auth.redirect_to(auth.get_slo_response_url(), parameters))


def _relay_state(request: HttpRequest) -> str:
    return str((request.POST if request.method == "POST" else request.GET).get("RelayState", ""))[:1000]


def _signed(key: ProviderKey, xml: Any, name: str, address: str) -> Posted:
    signed = OneLogin_Saml2_Utils.add_sign(
        xml,
        key.private_key,
        OneLogin_Saml2_Utils.format_cert(key.certificate),
        sign_algorithm=Words.RSA_SHA256,
        digest_algorithm=Words.SHA256,
    )
    return Posted(address=address, fields={name: base64.b64encode(signed).decode()})


def _posted(request: HttpRequest, provider: IdentityProvider, sent: Posted, *, relay_state: str = "") -> HttpResponse:
    fields = {**sent.fields, "RelayState": relay_state} if relay_state else sent.fields
    page = {"title": "Signing out", "provider": provider, "address": sent.address, "fields": fields}
    answer = render(request, "accounts/sign_out_there.html", page)
    # This page alone posts to the provider, which may lead on to another of its machines.
    answer._csp_update = {"form-action": [f"{urlsplit(sent.address).scheme}:"]}  # type: ignore[attr-defined]  # noqa: SLF001 what the policy's decorators set
    answer["Cache-Control"] = "no-store"
    return answer


def _message(request: HttpRequest, name: str) -> bytes:
    given = request.POST.get(name, "")
    if len(given) > LONGEST_MESSAGE:
        raise ValueError(f"The message to sign out is longer than {LONGEST_MESSAGE} signs")
    try:
        return base64.b64decode("".join(given.split()), validate=True)
    except binascii.Error:
        raise ValueError("The message to sign out is not written in base64") from None


def _asked(request: HttpRequest) -> dict[str, Any]:
    """Return the request as the library wants it; the signature of what was posted has been judged before."""
    return {
        "https": "on" if request.is_secure() else "off",
        "http_host": request.get_host(),
        "script_name": request.META.get("SCRIPT_NAME"),
        "path_info": request.path_info,
        "get_data": request.GET.dict(),
        "post_data": {},
    }


def _ensure_signed(document: Any, provider: IdentityProvider, kind: str) -> None:
    """Raise ValueError unless the whole message, and nothing else of it, is signed with a known certificate.

    The one signature stands directly in the message and covers it by its ID, which nothing else in it has; transforms
    that could leave a part out are refused.
    """
    if OneLogin_Saml2_XML.query(document, f"/samlp:{kind}") != [document]:
        raise ValueError(f"A {kind} was expected")
    [*signatures] = OneLogin_Saml2_XML.query(document, "//ds:Signature")
    if len(signatures) != 1 or signatures[0].getparent() is not document:
        raise ValueError(f"The {kind} has to carry one signature of its own: let the provider sign it")
    signature, name = signatures[0], document.get("ID", "")
    references = OneLogin_Saml2_XML.query(signature, "./ds:SignedInfo/ds:Reference")
    named = [one for one in document.iter() if isinstance(one.tag, str) and one.get("ID") == name]
    if not name or len(named) != 1 or [one.get("URI") for one in references] != [f"#{name}"]:
        raise ValueError(f"The signature of the {kind} covers something else than the whole of it")
    used = {
        "ds:SignedInfo/ds:SignatureMethod": SIGNATURES,
        "ds:SignedInfo/ds:Reference/ds:DigestMethod": DIGESTS,
        "ds:SignedInfo/ds:Reference/ds:Transforms/ds:Transform": TRANSFORMS,
        "ds:SignedInfo/ds:CanonicalizationMethod": TRANSFORMS,
    }
    for path, allowed in used.items():
        for node in OneLogin_Saml2_XML.query(signature, f"./{path}"):
            if node.get("Algorithm") not in allowed:
                raise ValueError(f"The {kind} is signed by {node.get('Algorithm')}: RSA-SHA256 or better is needed")
    xmlsec.tree.add_ids(document, ["ID"])
    for known in holding_certificates(saml_configuration(provider)):
        certificate = OneLogin_Saml2_Utils.format_cert(known.body)
        if OneLogin_Saml2_Utils.validate_node_sign(signature, document, certificate):
            return
    raise ValueError(f"The {kind} is not signed with a certificate that is written down here")


def _current_key(provider: IdentityProvider) -> ProviderKey:
    ensure_key(provider=provider)
    return ProviderKey.objects.get(provider=provider, state=ProviderKey.State.CURRENT)
