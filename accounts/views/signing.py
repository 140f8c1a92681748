"""Signing in, out and again, and ending one's other sessions."""

from typing import Any
from urllib.parse import urlencode

from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import perform_login
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from accounts.adapters import AccountAdapter
from accounts.data import ProviderKind
from accounts.forms import SignInForm
from accounts.models import User
from accounts.selectors import active_providers, any_passkey, identities_of
from accounts.services import (
    SIGNING_OUT,
    end_own_sessions,
    principal_of,
    session_closed,
    session_to_end_elsewhere,
)
from accounts.views.people import signed_in_user

OVER = {
    "idle": "You were signed out: nothing was done for a while.",
    "age": "You were signed out: a session lasts only so long.",
}


def ways_in(*, next_page: str = "", ask_again: bool = False) -> list[dict[str, str]]:
    """Return the providers that people sign in by, with the address that leads to each."""
    ways = []
    for one in active_providers(kinds=(ProviderKind.OIDC, ProviderKind.SAML)):
        if one.kind == ProviderKind.OIDC:
            address = reverse("openid_connect_login", args=[one.slug])
        else:
            address = reverse("saml_login", args=[one.slug])
        query = {"next": next_page} if next_page else {}
        if ask_again:
            query |= {"auth_params": "prompt=login"} if one.kind == ProviderKind.OIDC else {"again": "1"}
        ways.append({"slug": one.slug, "name": one.name, "url": f"{address}?{urlencode(query)}" if query else address})
    return ways


class SignInView(LoginView):
    """The sign-in page: a password, a passkey, or a provider."""

    form_class = SignInForm
    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        assert isinstance(user, User)  # noqa: S101 AUTH_USER_MODEL
        provider = getattr(user, "provider_slug", None)
        record_authentication(self.request, user, method="password", provider=provider)
        answer: HttpResponse = perform_login(self.request, user, redirect_url=self.get_success_url())
        return answer

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            ways=ways_in(next_page=self.get_redirect_url()),
            passkeys=any_passkey(),
            over=OVER.get(self.request.GET.get("over", ""), ""),
            **kwargs,
        )


class SignOutView(LogoutView):
    """Ends the session (POST only)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        key = request.session.session_key
        elsewhere = session_to_end_elsewhere(session_key=key)
        session_closed(session_key=key, why="signed out")
        answer = super().post(request, *args, **kwargs)
        if elsewhere is None:
            return answer
        number, provider = elsewhere
        request.session[SIGNING_OUT] = number
        # A page rather than a redirect: browsers keep what follows from a form to this site.
        there = reverse("saml_sls", args=[provider.slug])
        return render(request, "accounts/signed_out.html", {"title": "Signed out", "provider": provider, "url": there})


class SignInAgainView(LoginRequiredMixin, View):
    """Leads to the way in which a person can show again who they are."""

    def get(self, request: HttpRequest) -> HttpResponse:
        user, back = signed_in_user(request), request.GET.get("next", "/")
        if not url_has_allowed_host_and_scheme(back, {request.get_host()}):
            back = "/"
        ways = AccountAdapter(request).get_reauthentication_methods(user)
        if ways:
            return redirect(f"{ways[0]['url']}?{urlencode({'next': back})}")
        mine = set(identities_of(user=user).values_list("provider__slug", flat=True))
        providers = [one for one in ways_in(next_page=back, ask_again=True) if one["slug"] in mine]
        page = {"title": "Is it you?", "ways": providers, "back": back}
        return render(request, "accounts/again.html", page)


class SessionEndView(LoginRequiredMixin, View):
    """Ends one of the reader's own sessions, or all but this one."""

    def post(self, request: HttpRequest) -> HttpResponse:
        user, key = signed_in_user(request), request.POST.get("session", "")
        here = request.session.session_key or ""
        mine = user.sign_in_sessions.filter(ended_at__isnull=True).exclude(session_key=here)
        wanted = mine if key == "others" else mine.filter(pk=key if key.isdecimal() else 0)
        ended = end_own_sessions(
            principal=principal_of(request), user=user, keys=list(wanted.values_list("session_key", flat=True))
        )
        messages.success(request, "That session is over." if ended == 1 else f"{ended} sessions are over.")
        return redirect("accounts:account")
