"""Attach the principal to each request, keep sessions within their bounds, ask again before something dangerous."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.data import Principal, PrincipalKind
from accounts.models import User
from accounts.selectors import has_second_factor, principal_for_user
from accounts.services import (
    SignInAgainError,
    begin_session,
    must_enrol,
    note_proof,
    proved_at,
    see_session,
    session_is_known,
)

Answer = Callable[[HttpRequest], HttpResponse]
# Where somebody who has to set up a second factor may go.
WANTED = "assay_wanted"  # what they asked for before, to go on to
ENROLMENT = ("/settings/account/factors/", "/sign-out/", "/sign-in/again/", "/static/")


class SessionMiddleware:
    """End sessions that are too old or were idle for too long; lead to enrolment who needs a second factor."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if SESSION_KEY in request.session and isinstance(request.user, User):
            return self._bounded(request, request.user) or self.get_response(request)
        return self.get_response(request)

    def _bounded(self, request: HttpRequest, user: User) -> HttpResponse | None:
        if not session_is_known(request.session):
            begin_session(request=request, user=user, method="")
        if why := see_session(session=request.session):
            logout(request)
            if _is_for_machines(request):
                return None
            return _away(
                request, f"{reverse('accounts:login')}?{urlencode({'over': why.value, 'next': _page(request)})}"
            )
        if must_enrol(request.session):
            if has_second_factor(user=user):
                note_proof(request.session, enrolled=True)
            elif not request.path.startswith(ENROLMENT):
                if _is_for_machines(request):
                    return JsonResponse({"detail": "Set up a second factor first: your role asks for one."}, status=403)
                request.session[WANTED] = _page(request)
                return _away(request, reverse("mfa_index"))
        elif WANTED in request.session and not request.path.startswith(ENROLMENT):
            del request.session[WANTED]
        return None


class PrincipalMiddleware:
    """Set `request.principal`: the signed-in person's rights, or those of nobody."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        def load() -> Principal:
            if isinstance(request.user, User):
                return principal_for_user(user=request.user, authenticated_at=proved_at(request))
            return Principal(kind=PrincipalKind.USER, label="nobody")

        request.principal = SimpleLazyObject(load)  # type: ignore[attr-defined]
        answer = self.get_response(request)
        # What was shown to somebody is kept nowhere: not for the next person at this browser, nor by a proxy.
        if SESSION_KEY in request.session or "Authorization" in request.headers:
            answer.headers.setdefault("Cache-Control", "private, no-store")
        return answer


class SignInAgainMiddleware:
    """Lead who asks for something dangerous to show again who they are, and back to the page."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer a page's refusal; the REST API has answered its own."""
        if not isinstance(exception, SignInAgainError) or _is_for_machines(request):
            return None
        return _away(request, f"{reverse('accounts:again')}?{urlencode({'next': _page(request)})}")


def _is_for_machines(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/scim/"))


def _page(request: HttpRequest) -> str:
    """Return the page to come back to: this one, or the one that a form was sent from."""
    if request.method == "GET" and not request.headers.get("HX-Request"):
        return request.get_full_path()
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(referer, {request.get_host()}):
        parts = urlsplit(referer)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path
    return "/"


def _away(request: HttpRequest, url: str) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
