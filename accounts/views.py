"""Sign-in and sign-out, the reader's own account, and people with their roles."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.data import Capability, Principal, Role
from accounts.forms import PasswordForm, PersonForm, RoleForm, SignInForm, TimeZoneForm, TokenForm
from accounts.models import ApiToken, User
from accounts.selectors import people, teams, tokens_of
from accounts.services import (
    LastAdminError,
    change_password,
    create_api_token,
    create_user,
    deactivate_user,
    ensure_may,
    grant_role,
    principal_of,
    revoke_api_token,
    revoke_role,
    set_time_zone,
    sign_in_failed,
    sign_in_is_locked,
    signed_in,
)
from core.lists import Action, Column, Filter, RecordListView
from core.parsing import InputRefusedError


class SignInView(LoginView):
    """The sign-in page."""

    form_class = SignInForm
    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        assert isinstance(user, User)  # noqa: S101 AUTH_USER_MODEL
        response = super().form_valid(form)
        signed_in(user=user, address=self.request.META.get("REMOTE_ADDR", ""))
        return response


class SignOutView(LogoutView):
    """Ends the session (POST only)."""


def _signed_in_user(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise Http404
    return request.user


class AccountView(LoginRequiredMixin, View):
    """The reader's own account: roles, time zone, API tokens."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        user = _signed_in_user(request)
        if "time_zone" in request.POST:
            zone_form = TimeZoneForm(request.POST)
            if zone_form.is_valid():
                set_time_zone(user=user, time_zone=zone_form.cleaned_data["time_zone"])
                messages.success(request, "Times are shown in your zone from now on.")
                return redirect("accounts:account")
            return self._page(request, zone_form=zone_form)
        token_form = TokenForm(request.POST, principal=principal_of(request))
        if not token_form.is_valid():
            return self._page(request, token_form=token_form)
        try:
            _, secret = create_api_token(principal=principal_of(request), owner=user, **token_form.order())
        except InputRefusedError as error:
            token_form.add_error(None, str(error))
            return self._page(request, token_form=token_form)
        return self._page(request, secret=secret)

    def _page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        user, principal = _signed_in_user(request), principal_of(request)
        page = {
            "title": "Your account",
            "zone_form": TimeZoneForm(initial={"time_zone": user.time_zone}),
            "token_form": TokenForm(principal=principal),
            "tokens": tokens_of(user_id=user.pk),
            "grants": user.grants.select_related("team"),
            **context,
        }
        return render(request, "accounts/account.html", page)


class PasswordView(LoginRequiredMixin, View):
    """Changes the reader's own password; guessing the old one locks as guessing at the sign-in does."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, PasswordForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        user, form = _signed_in_user(request), PasswordForm(request.POST)
        address = request.META.get("REMOTE_ADDR", "")
        if form.is_valid():
            if sign_in_is_locked(username=user.username, address=address):
                form.add_error("old", SignInForm.error_messages["locked"])
                return self._page(request, form)
            try:
                change_password(user=user, old=form.cleaned_data["old"], new=form.cleaned_data["new"])
            except ValidationError as error:
                wrong_old = getattr(error, "code", "") == "old"
                if wrong_old:
                    sign_in_failed(username=user.username, address=address)
                form.add_error("old" if wrong_old else "new", error)
                return self._page(request, form)
            update_session_auth_hash(request, user)
            messages.success(request, "Your password is changed. Other browsers are signed out.")
            return redirect("accounts:account")
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: PasswordForm) -> HttpResponse:
        return render(request, "accounts/password.html", {"title": "Change your password", "form": form})


class TokenRevokeView(LoginRequiredMixin, View):
    """Ends a token."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        token = ApiToken.objects.select_related("owner").filter(pk=pk).first()
        principal = principal_of(request)
        if token is None or not (token.owner_id == principal.user_id or principal.may(Capability.SITE_ADMIN)):
            raise Http404
        revoke_api_token(principal=principal, token=token)
        messages.success(request, f"“{token.name}” opens nothing any more.")
        return redirect("accounts:account")


class PersonListView(RecordListView):
    """Everybody who has an account."""

    title = "People"
    noun = "people"
    columns = (
        Column(
            "name",
            "Name",
            str,
            kind="strong",
            order_by=("first_name", "last_name", "username"),
            href=lambda user: f"/settings/people/{user.username}/",
        ),
        Column("username", "User name", lambda user: user.username, kind="code", order_by=("username",)),
        Column("roles", "Roles", lambda user: ", ".join(_grant_text(grant) for grant in user.grants.all())),
        Column("teams", "Teams", lambda user: ", ".join(team.name for team in user.teams.all())),
        Column("active", "State", lambda user: "active" if user.is_active else "closed", kind="state"),
        Column("seen", "Last sign-in", lambda user: user.last_login, kind="time", order_by=("last_login",)),
        Column("mail", "Mail", lambda user: user.email, shown=False),
    )
    filters = (
        Filter(
            "role",
            "Role",
            [(role.value, role.value.replace("-", " ")) for role in Role],
            apply=lambda users, chosen: users.filter(grants__role__in=chosen).distinct(),
        ),
    )
    search_fields = ("username", "first_name", "last_name", "email")
    default_sort = "name"

    def may_view(self, principal: Principal) -> bool:
        return principal.may(Capability.SITE_ADMIN)

    def get_records(self) -> Any:
        return people()

    def get_actions(self) -> Sequence[Action]:
        return [Action("Add a person", "/settings/people/add/", icon="user-plus")]


class PersonCreateView(LoginRequiredMixin, View):
    """Adds a person."""

    def get(self, request: HttpRequest) -> HttpResponse:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        return self._page(request, PersonForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = PersonForm(request.POST)
        if not form.is_valid():
            ensure_may(principal_of(request), Capability.SITE_ADMIN)
            return self._page(request, form)
        user = create_user(principal=principal_of(request), **form.cleaned_data)
        messages.success(request, f"{user} can sign in. Without a role, nothing opens yet.")
        return redirect("accounts:person_detail", username=user.username)

    def _page(self, request: HttpRequest, form: PersonForm) -> HttpResponse:
        return render(request, "accounts/person_create.html", {"title": "Add a person", "form": form})


class PersonDetailView(LoginRequiredMixin, View):
    """A person with their roles, each of which can be taken away."""

    def get(self, request: HttpRequest, username: str) -> HttpResponse:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        return self._page(request, self._person(username), RoleForm())

    def post(self, request: HttpRequest, username: str) -> HttpResponse:
        principal = principal_of(request)
        ensure_may(principal, Capability.SITE_ADMIN)
        person = self._person(username)
        try:
            if request.POST.get("action") == "close":
                deactivate_user(principal=principal, user=person)
            elif request.POST.get("action") == "revoke":
                grant = person.grants.select_related("team").filter(pk=request.POST.get("grant") or 0).first()
                if grant is None:
                    raise Http404
                revoke_role(principal=principal, user=person, role=Role(grant.role), team=grant.team)
            else:
                form = RoleForm(request.POST)
                if not form.is_valid():
                    return self._page(request, person, form)
                grant_role(
                    principal=principal,
                    user=person,
                    role=Role(form.cleaned_data["role"]),
                    team=form.cleaned_data["team"],
                )
        except LastAdminError as error:
            messages.error(request, str(error))
        return redirect("accounts:person_detail", username=username)

    def _person(self, username: str) -> User:
        person = people().filter(username=username).first()
        if person is None:
            raise Http404
        return person

    def _page(self, request: HttpRequest, person: User, form: RoleForm) -> HttpResponse:
        context = {
            "title": str(person),
            "person": person,
            "form": form,
            "facts": [
                ("User name", person.username),
                ("Mail", person.email or None),
                ("Time zone", person.time_zone),
                ("Teams", ", ".join(team.name for team in person.teams.all()) or None),
            ],
            "tokens": tokens_of(user_id=person.pk),
            "teams": teams(),
        }
        return render(request, "accounts/person_detail.html", context)


def _grant_text(grant: Any) -> str:
    return f"{grant.role.replace('-', ' ')} ({grant.team.name})" if grant.team else str(grant.role).replace("-", " ")
