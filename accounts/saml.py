"""SAML: the library's protocol behind this site's refusals. Imported with its first request, for it is heavy."""

from copy import deepcopy
from typing import Any

import xmlsec
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import httpkit
from allauth.socialaccount.helpers import complete_social_login, render_authentication_error
from allauth.socialaccount.providers.base.constants import AuthError
from allauth.socialaccount.providers.saml import views
from allauth.socialaccount.providers.saml.utils import build_auth, build_saml_config, get_app_or_404
from allauth.socialaccount.sessions import LoginSession
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.csrf import csrf_exempt
from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]
from onelogin.saml2.auth import OneLogin_Saml2_Settings
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Words
from onelogin.saml2.errors import OneLogin_Saml2_Error
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from accounts import saml_logout
from accounts.adapters import refusal
from accounts.models import IdentityProvider
from accounts.saml_messages import process_answer
from accounts.services import SAML_TOLD, ensure_key, proved_there


def _run(view: Any, request: HttpRequest, organization_slug: str) -> HttpResponse:
    # The library reads the header, which a request need not have.
    request.META.setdefault("HTTP_HOST", request.get_host())
    try:
        answer: HttpResponse = view(request, organization_slug=organization_slug)
    except ImmediateHttpResponse as refused:
        answer = refused.response
    except (OneLogin_Saml2_Error, XMLSyntaxError, xmlsec.Error, KeyError, ValueError) as error:
        return refusal(request, organization_slug, error)
    return answer


def login(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Lead to the provider; with `again` in the address, to a sign-in that asks there whatever session there is."""
    return _run(_login_again if "again" in request.GET else views.login, request, organization_slug)


@csrf_exempt
def acs(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Take the provider's answer, which its page posts from elsewhere."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    return _run(views.acs, request, organization_slug)


def finish(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Judge the answer within the session that asked for it."""
    return _run(_finish, request, organization_slug)


def metadata(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Say to the provider who this site is, and which keys it has now and next."""
    return _run(_metadata, request, organization_slug)


@csrf_exempt
def sign_out(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Carry the end of a session to the provider, or from there to here; its messages have to be signed."""
    if request.method not in {"GET", "POST"}:
        return HttpResponse(status=405, headers={"Allow": "GET, POST"})
    return _run(saml_logout.sign_out, request, organization_slug)


def _login_again(request: HttpRequest, organization_slug: str) -> HttpResponse:
    library = get_app_or_404(request, organization_slug).get_provider(request)
    auth = build_auth(request, library)
    there = auth.login(return_to="", force_authn=True)
    wanted = library.get_redirect_from_request_kwargs(request)
    library.stash_redirect_state(request, state_id=auth.get_last_request_id(), **wanted)
    return redirect(there)


def _finish(request: HttpRequest, organization_slug: str) -> HttpResponse:
    app = get_app_or_404(request, organization_slug)
    library = app.get_provider(request)
    provider = get_object_or_404(IdentityProvider, slug=organization_slug)
    kept = LoginSession(request, "saml_acs_session", "saml-acs-session")
    posted = kept.store.get("request")
    kept.delete()
    if not posted:
        return _refused(request, library, "the answer was not posted in this browser")
    auth, why = process_answer(httpkit.deserialize_request(posted, HttpRequest()), app, provider)
    if auth is None or why:
        return _refused(request, library, why)
    if not auth.is_authenticated():
        return _refused(request, library, "", error=AuthError.CANCELLED)
    asked = auth.get_last_response_in_response_to()
    if not asked:
        return _refused(request, library, "the answer belongs to no request")
    signing_in = library.sociallogin_from_response(request, auth)
    signing_in.state = library.unstash_redirect_state(request, asked)
    request.session[SAML_TOLD] = {
        "provider": organization_slug,
        "name_id": str(auth.get_nameid() or ""),
        "told": {
            "name_id_format": auth.get_nameid_format(),
            "nq": auth.get_nameid_nq(),
            "spnq": auth.get_nameid_spnq(),
        },
        "index": str(auth.get_session_index() or ""),
    }
    proved_there(request, said=_authenticated_at(auth))
    answer: HttpResponse = complete_social_login(request, signing_in)
    return answer


def _authenticated_at(auth: Any) -> float | None:
    """Return when the provider says that the person proved who they are; the assertion was judged before."""
    document = OneLogin_Saml2_XML.to_etree(auth.get_last_response_xml())
    told = [node.get("AuthnInstant") for node in OneLogin_Saml2_XML.query(document, "//saml:AuthnStatement")]
    return min((OneLogin_Saml2_Utils.parse_SAML_to_time(one) for one in told if one), default=None)


def _refused(request: HttpRequest, library: Any, why: str, *, error: str = AuthError.UNKNOWN) -> HttpResponse:
    context = {"saml_last_error_reason": why} if why else {}
    answer: HttpResponse = render_authentication_error(request, library, error=error, extra_context=context)
    return answer


def _metadata(request: HttpRequest, organization_slug: str) -> HttpResponse:
    ensure_key(provider=get_object_or_404(IdentityProvider, slug=organization_slug))
    app = get_app_or_404(request, organization_slug)
    config = build_saml_config(request, app.settings, organization_slug)
    # Whether they must or not: providers encrypt only when they know with what.
    config["security"]["wantAssertionsEncrypted"] = True
    settings = OneLogin_Saml2_Settings(settings=config, sp_validation_only=True)
    written = _with_logout_by_post(settings.get_sp_metadata())
    if problems := settings.validate_metadata(written):
        raise ValueError(", ".join(map(str, problems)))
    return HttpResponse(content=written, content_type="application/samlmetadata+xml")


def _with_logout_by_post(metadata: Any) -> bytes:
    """Return metadata that name the sign-out address for posted messages too; the library knows one way alone."""
    document = OneLogin_Saml2_XML.to_etree(metadata)
    for by_redirect in OneLogin_Saml2_XML.query(document, "//md:SingleLogoutService"):
        by_post = deepcopy(by_redirect)
        by_post.set("Binding", Words.BINDING_HTTP_POST)
        by_redirect.addnext(by_post)
    return bytes(OneLogin_Saml2_XML.to_string(document))
