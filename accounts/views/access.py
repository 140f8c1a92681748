"""Who may do what: roles with what they open and who holds them, and every API token."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views import View

from accounts.data import Capability, Principal, Role
from accounts.domain.permissions import CAPABILITY_WORDS, ROLE_CAPABILITIES, ROLE_WORDS
from accounts.models import ApiToken
from accounts.navigation import may_see_roles
from accounts.selectors import holders_of_roles, tokens_seen_by
from accounts.services import principal_of
from core.lists import Column, Empty, Filter, RecordListView


class RoleListView(LoginRequiredMixin, View):
    """What each role opens, and who holds it where."""

    def get(self, request: HttpRequest) -> HttpResponse:
        viewer = principal_of(request)
        if not may_see_roles(viewer):
            raise PermissionDenied("Administrators and compliance managers see who holds which role.")
        holders = holders_of_roles()
        context = {
            "title": "Roles",
            "roles": [(*ROLE_WORDS[role], holders.get(role, [])) for role in Role],
            "intro": "What each role opens, for the site or one team's things, and who holds it. All else is refused.",
            "columns": [ROLE_WORDS[role][0] for role in Role],
            "rows": [
                {
                    "label": words,
                    "cells": [
                        {"text": "yes", "tone": "ok"} if capability in ROLE_CAPABILITIES[role] else {"text": "no"}
                        for role in Role
                    ],
                }
                for capability, words in CAPABILITY_WORDS.items()
            ],
            "links_people": viewer.may(Capability.SITE_ADMIN),
        }
        return render(request, "accounts/roles.html", context)


def _state(token: ApiToken) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at <= timezone.now() else "active"


def _in_states(tokens: QuerySet[ApiToken], chosen: list[str]) -> QuerySet[ApiToken]:
    now, wanted = timezone.now(), Q(pk__in=())
    if "active" in chosen:
        wanted |= Q(revoked_at__isnull=True, expires_at__gt=now)
    if "expired" in chosen:
        wanted |= Q(revoked_at__isnull=True, expires_at__lte=now)
    if "revoked" in chosen:
        wanted |= Q(revoked_at__isnull=False)
    return tokens.filter(wanted)


class TokenListView(RecordListView):
    """Every API token, with whose it is and what it opens."""

    title = "API tokens"
    intro = "Keys of machines. A token may do what its owner may, within its scopes, until it expires."
    noun = "tokens"
    columns = (
        Column(
            "name",
            "Token",
            lambda token: token.name,
            kind="strong",
            order_by=("name",),
            href=lambda token: reverse("accounts:person_detail", args=[token.owner.username]),
        ),
        Column("state", "State", _state, kind="state"),
        Column("owner", "Owner", lambda token: str(token.owner), order_by=("owner__username",)),
        Column("hint", "Begins with", lambda token: f"{token.hint}…", kind="code"),
        Column("scopes", "Scopes", lambda token: ", ".join(token.scopes), wide_only=True),
        Column("used", "Last used", lambda token: token.last_used_at, kind="time", order_by=("last_used_at",)),
        Column("expires", "Expires", lambda token: token.expires_at, kind="time", order_by=("expires_at",)),
        Column("made", "Made", lambda token: token.created_at, kind="time", order_by=("created_at",), shown=False),
    )
    filters = (
        Filter(
            "state",
            "State",
            [("active", "active"), ("expired", "expired"), ("revoked", "revoked")],
            apply=_in_states,
        ),
        Filter(
            "use",
            "Use",
            [("never", "never used")],
            apply=lambda tokens, _: tokens.filter(last_used_at__isnull=True),
        ),
    )
    search_fields = ("name", "owner__username", "hint")
    default_sort = "expires"
    empty = Empty(
        "Nobody has made a token.",
        command=".venv/bin/python manage.py account token USERNAME --scope telemetry.ingest",
    )

    def may_view(self, principal: Principal) -> bool:
        return principal.may(Capability.SITE_ADMIN)

    def get_records(self) -> Any:
        return tokens_seen_by(viewer=principal_of(self.request))
