"""The reader's own account, and people with their roles."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.adapters import LOCKED, address_of
from accounts.data import Capability, Principal, Role
from accounts.forms import PasswordForm, PersonForm, RoleForm, TimeZoneForm, TokenForm
from accounts.models import ApiToken, User
from accounts.selectors import factors_of, failures_of, identities_of, open_sessions, people, teams, tokens_of
from accounts.services import (
    LastAdminError,
    change_password,
    create_api_token,
    create_user,
    deactivate_user,
    end_sessions_by_administrator,
    end_sessions_of,
    ensure_may,
    grant_role,
    move_session,
    principal_of,
    remove_factors,
    reopen_account,
    revoke_api_token,
    revoke_role,
    set_break_glass,
    set_time_zone,
    sign_in_failed,
    sign_in_is_locked,
    unlock_sign_in,
)
from core.lists import Action, Column, Filter, RecordListView
from core.parsing import InputRefusedError


def signed_in_user(request: HttpRequest) -> User:
    """Return the reader."""
    if not isinstance(request.user, User):
        raise Http404
    return request.user


class AccountView(LoginRequiredMixin, View):
    """The reader's own account: roles, time zone, API tokens."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        user = signed_in_user(request)
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
        user, principal = signed_in_user(request), principal_of(request)
        page = {
            "title": "Your account",
            "zone_form": TimeZoneForm(initial={"time_zone": user.time_zone}),
            "token_form": TokenForm(principal=principal),
            "tokens": tokens_of(user_id=user.pk),
            "grants": user.grants.select_related("team"),
            "sessions": open_sessions(user=user),
            "this_session": request.session.session_key,
            "factors": factors_of(user=user),
            "identities": identities_of(user=user),
            "has_password": user.has_usable_password(),
            **context,
        }
        return render(request, "accounts/account.html", page)


class PasswordView(LoginRequiredMixin, View):
    """Changes the reader's own password; guessing the old one locks as guessing at the sign-in does."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, PasswordForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        user, form = signed_in_user(request), PasswordForm(request.POST)
        address = address_of(request)
        if form.is_valid():
            if sign_in_is_locked(username=user.username, address=address):
                form.add_error("old", LOCKED)
                return self._page(request, form)
            try:
                change_password(user=user, old=form.cleaned_data["old"], new=form.cleaned_data["new"])
            except ValidationError as error:
                wrong_old = getattr(error, "code", "") == "old"
                if wrong_old:
                    sign_in_failed(username=user.username, address=address)
                form.add_error("old" if wrong_old else "new", error)
                return self._page(request, form)
            before = request.session.session_key
            update_session_auth_hash(request, user)
            move_session(before=before, session=request.session)
            end_sessions_of(user=user, why="the password changed", but=request.session.session_key or "")
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
        if token.owner_id != principal.user_id:
            return redirect("accounts:person_detail", username=token.owner.username)
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


PERSON_ACTIONS: dict[str, Callable[[Principal, User], object]] = {
    "close": lambda principal, person: deactivate_user(principal=principal, user=person),
    "reopen": lambda principal, person: reopen_account(principal=principal, user=person),
    "unlock": lambda principal, person: unlock_sign_in(principal=principal, username=person.username),
    "end-sessions": lambda principal, person: end_sessions_by_administrator(principal=principal, user=person),
    "break-glass": lambda principal, person: set_break_glass(principal=principal, user=person, is_break_glass=True),
    "no-break-glass": lambda principal, person: set_break_glass(principal=principal, user=person, is_break_glass=False),
    "remove-factors": lambda principal, person: remove_factors(principal=principal, user=person),
}


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
            action = request.POST.get("action", "")
            if action in PERSON_ACTIONS:
                PERSON_ACTIONS[action](principal, person)
            elif action == "revoke":
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
            "sessions": open_sessions(user=person),
            "factors": factors_of(user=person),
            "identities": identities_of(user=person),
            "failures": failures_of(username=person.username),
        }
        return render(request, "accounts/person_detail.html", context)


def _grant_text(grant: Any) -> str:
    return f"{grant.role.replace('-', ' ')} ({grant.team.name})" if grant.team else str(grant.role).replace("-", " ")
