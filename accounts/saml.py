"""SAML: the library's protocol behind this site's refusals. Imported with its first request, for it is heavy."""

from typing import Any

from allauth.socialaccount.providers.saml import views
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt
from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]
from onelogin.saml2.errors import OneLogin_Saml2_Error

from accounts.adapters import refusal


def _run(view: Any, request: HttpRequest, organization_slug: str) -> HttpResponse:
    # The library reads the header, which a request need not have.
    request.META.setdefault("HTTP_HOST", request.get_host())
    try:
        answer: HttpResponse = view(request, organization_slug=organization_slug)
    except (OneLogin_Saml2_Error, XMLSyntaxError, KeyError, ValueError) as error:
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
    return _run(views.finish_acs, request, organization_slug)


def metadata(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Say to the provider who this site is."""
    return _run(views.metadata, request, organization_slug)


def sign_out(request: HttpRequest, organization_slug: str) -> HttpResponse:  # noqa: ARG001 the route's names
    """Lead to the sign-in. A provider ends no session here: its message could be sent by anybody's page."""
    return redirect("accounts:login")
