"""SAML: the library's protocol behind this site's refusals. Imported with its first request, for it is heavy."""

import logging
from typing import Any

import xmlsec
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import httpkit
from allauth.socialaccount.helpers import complete_social_login, render_authentication_error
from allauth.socialaccount.providers.base.constants import AuthError
from allauth.socialaccount.providers.saml import views
from allauth.socialaccount.providers.saml.utils import build_saml_config, get_app_or_404
from allauth.socialaccount.sessions import LoginSession
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.csrf import csrf_exempt
from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]
from onelogin.saml2.auth import OneLogin_Saml2_Settings
from onelogin.saml2.errors import OneLogin_Saml2_Error
from onelogin.saml2.logout_request import OneLogin_Saml2_Logout_Request
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from accounts.adapters import refusal
from accounts.data import system_principal
from accounts.models import IdentityProvider, ProviderKey, SignInSession
from accounts.saml_messages import process_answer, saml_auth, saml_configuration
from accounts.services import SAML_TOLD, SIGNING_OUT, end_sessions_told, ensure_key

logger = logging.getLogger(__name__)
# How old a request to sign somebody out may be, beside what the clocks may differ.
LOGOUT_LIFE_SECONDS = 300


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
    """Lead to the provider."""
    return _run(views.login, request, organization_slug)


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


def sign_out(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Carry the end of a session to the provider, or from there to here; its messages have to be signed."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    return _run(_sign_out, request, organization_slug)


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
    answer: HttpResponse = complete_social_login(request, signing_in)
    return answer


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
    written = settings.get_sp_metadata()
    if problems := settings.validate_metadata(written):
        raise ValueError(", ".join(map(str, problems)))
    return HttpResponse(content=written, content_type="application/samlmetadata+xml")


def _sign_out(request: HttpRequest, organization_slug: str) -> HttpResponse:
    app = get_app_or_404(request, organization_slug)
    provider = get_object_or_404(IdentityProvider, slug=organization_slug)
    if "SAMLRequest" in request.GET:
        return _ended_there(request, app, provider)
    if "SAMLResponse" in request.GET:
        return _answered(request, app, provider)
    return _end_there(request, app, provider)


def _end_there(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """Lead who has just signed out here to the provider, with a request of their own."""
    ended = SignInSession.objects.filter(pk=request.session.pop(SIGNING_OUT, 0)).first()
    if ended is None or ended.method != f"provider:{provider.slug}" or not saml_configuration(provider).slo_url:
        return redirect("accounts:login")
    auth = saml_auth(request, app, provider, key=_current_key(provider))
    there = auth.logout(
        return_to="", name_id=ended.name_id, session_index=ended.session_index or None, **ended.name_id_told
    )
    request.session["assay_sign_out_request"] = auth.get_last_request_id()
    return redirect(there)


def _answered(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """Say whether the provider has ended its session too."""
    asked = request.session.pop("assay_sign_out_request", "")
    auth = saml_auth(request, app, provider, key=_current_key(provider), signed=True)
    auth.process_slo(keep_local_session=True, request_id=asked or None)
    if not asked or auth.get_errors():
        why = auth.get_last_error_reason() or ", ".join(auth.get_errors()) or "nobody here asked for it"
        logger.warning("the end of a session at %s was not confirmed: %s", provider.slug, why)
        messages.warning(request, f"You are signed out here, but {provider} did not confirm that you are there.")
    else:
        messages.success(request, f"You are signed out here and at {provider}.")
    return redirect("accounts:login")


def _ended_there(request: HttpRequest, app: Any, provider: IdentityProvider) -> HttpResponse:
    """End the sessions that the provider names, and tell it so."""
    auth = saml_auth(request, app, provider, key=_current_key(provider), signed=True)
    back = auth.process_slo(keep_local_session=True)
    if auth.get_errors():
        raise ValueError(f"The request to sign out was refused: {auth.get_last_error_reason() or auth.get_errors()}")
    asked = OneLogin_Saml2_XML.to_etree(auth.get_last_request_xml())
    age = OneLogin_Saml2_Utils.now() - OneLogin_Saml2_Utils.parse_SAML_to_time(asked.get("IssueInstant"))
    tolerance = saml_configuration(provider).clock_tolerance_seconds
    if not -tolerance <= age <= LOGOUT_LIFE_SECONDS + tolerance:
        raise ValueError(f"The request to sign out is {age} seconds old: set the clocks of both machines right")
    here = request.session.session_key
    ended = end_sessions_told(
        principal=system_principal(provider.slug),
        provider=provider,
        name_id=str(OneLogin_Saml2_Logout_Request.get_nameid(asked, _current_key(provider).private_key)),
        indexes=[str(one) for one in OneLogin_Saml2_Logout_Request.get_session_indexes(asked)],
    )
    if here in ended:
        logout(request)
    return redirect(back)


def _current_key(provider: IdentityProvider) -> ProviderKey:
    ensure_key(provider=provider)
    return ProviderKey.objects.get(provider=provider, state=ProviderKey.State.CURRENT)
