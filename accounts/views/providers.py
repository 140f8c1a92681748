"""Settings of signing in: the rules, and the providers of identities."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability, Principal, ProviderKind, Role
from accounts.forms import PolicyForm, ProviderForm
from accounts.models import IdentityProvider, ProviderKey
from accounts.selectors import (
    certificates_of,
    identity_providers,
    keys_of,
    lately_locked,
    locked_out,
    provider_by_slug,
    sign_in_policy,
)
from accounts.services import (
    LastAdminError,
    configuration_with_metadata,
    drop_old_key,
    ensure_may,
    prepare_next_key,
    principal_of,
    remove_provider,
    save_provider,
    save_sign_in_policy,
    set_provider_state,
    try_provider,
    unlock_address,
    unlock_sign_in,
    use_next_key,
)
from core.clock import database_now
from core.lists import Action, Column, Empty, RecordListView
from core.parsing import InputRefusedError

KEY_STEPS: dict[str, Callable[..., object]] = {
    "announce-key": prepare_next_key,
    "use-key": use_next_key,
    "drop-key": drop_old_key,
}
KIND_WORDS = {
    ProviderKind.OIDC: "OpenID Connect",
    ProviderKind.SAML: "SAML",
    ProviderKind.LDAP: "LDAP or Active Directory",
    ProviderKind.SCIM: "SCIM",
}


class PolicyView(LoginRequiredMixin, View):
    """The rules of signing in, and who is locked out."""

    def get(self, request: HttpRequest) -> HttpResponse:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        policy = sign_in_policy()
        return self._page(request, PolicyForm(initial={name: getattr(policy, name) for name in PolicyForm.base_fields}))

    def post(self, request: HttpRequest) -> HttpResponse:
        principal = principal_of(request)
        ensure_may(principal, Capability.SITE_ADMIN)
        if username := request.POST.get("unlock"):
            if unlock_sign_in(principal=principal, username=username):
                messages.success(request, f"{username} can sign in again.")
            return redirect("accounts:sign_in_policy")
        if address := request.POST.get("unlock-address"):
            if unlock_address(principal=principal, address=address):
                messages.success(request, f"People can sign in from {address} again.")
            return redirect("accounts:sign_in_policy")
        form = PolicyForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        roles = [Role(role) for role in form.cleaned_data["second_factor_roles"]]
        try:
            save_sign_in_policy(principal=principal, **{**form.cleaned_data, "second_factor_roles": roles})
        except InputRefusedError as error:
            form.add_error(None, str(error))
            return self._page(request, form)
        messages.success(request, "These rules hold from now on; open sessions follow within a minute.")
        return redirect("accounts:sign_in_policy")

    def _page(self, request: HttpRequest, form: PolicyForm) -> HttpResponse:
        page = {
            "title": "Signing in",
            "form": form,
            "locked_out": locked_out(now=database_now()),
            "failed": lately_locked(),
            "providers": identity_providers(),
        }
        return render(request, "accounts/sign_in_policy.html", page)


def _state(provider: IdentityProvider) -> str:
    if provider.state == IdentityProvider.State.PAUSED:
        return "paused"
    return "failing" if provider.last_error else "active"


class ProviderListView(RecordListView):
    """Who else says who somebody is."""

    title = "Identity providers"
    noun = "providers"
    columns = (
        Column(
            "name",
            "Name",
            str,
            kind="strong",
            order_by=("name",),
            href=lambda provider: f"/settings/sign-in/providers/{provider.slug}/",
        ),
        Column("kind", "Kind", lambda provider: KIND_WORDS[ProviderKind(provider.kind)], order_by=("kind",)),
        Column("state", "State", _state, kind="state"),
        Column("groups", "Groups mapped", lambda provider: len(provider.mappings.all()), kind="number"),
        Column("seen", "Answered", lambda provider: provider.last_success_at, kind="time"),
        Column("error", "Last error", lambda provider: provider.last_error),
    )
    search_fields = ("slug", "name")
    default_sort = "name"
    empty = Empty("People sign in with passwords kept here. Add the provider that your organization has.")

    def may_view(self, principal: Principal) -> bool:
        return principal.may(Capability.SITE_ADMIN)

    def get_records(self) -> Any:
        return identity_providers()

    def get_actions(self) -> Sequence[Action]:
        return [
            Action(words, reverse("accounts:provider_create", args=[kind.value]), primary=kind is ProviderKind.OIDC)
            for kind, words in KIND_WORDS.items()
        ]


class ProviderCreateView(LoginRequiredMixin, View):
    """Adds a provider."""

    def get(self, request: HttpRequest, kind: str) -> HttpResponse:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        return self._page(request, ProviderForm(kind=_kind(kind)))

    def post(self, request: HttpRequest, kind: str) -> HttpResponse:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        form = ProviderForm(request.POST, request.FILES, kind=_kind(kind))
        if form.is_valid() and provider_by_slug(slug=form.cleaned_data["slug"]):
            form.add_error("slug", "A provider has this short name already.")
        if not form.is_valid() or not _saved(request, form):
            return self._page(request, form)
        return redirect("accounts:provider_detail", slug=form.cleaned_data["slug"])

    def _page(self, request: HttpRequest, form: ProviderForm) -> HttpResponse:
        page = {"title": f"Add a provider: {KIND_WORDS[form.kind]}", "form": form}
        return render(request, "accounts/provider_create.html", page)


class ProviderDetailView(LoginRequiredMixin, View):
    """A provider: what is written down, whether it answers, what its groups mean."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        provider = _provider(slug)
        return self._page(request, provider, _form(provider))

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        principal = principal_of(request)
        ensure_may(principal, Capability.SITE_ADMIN)
        provider, step = _provider(slug), request.POST.get("step", "")
        if step == "try":
            return self._page(request, _provider(slug), _form(provider), tried=try_provider(provider=provider))
        if step in {"pause", "resume"}:
            set_provider_state(principal=principal, provider=provider, paused=step == "pause")
            return redirect("accounts:provider_detail", slug=slug)
        if step == "remove":
            return self._remove(request, provider)
        if step in KEY_STEPS:
            return self._key_step(request, provider, step)
        form = ProviderForm(
            request.POST,
            request.FILES,
            kind=ProviderKind(provider.kind),
            known=True,
            initial={"slug": provider.slug},
        )
        if not form.is_valid() or not _saved(request, form):
            return self._page(request, provider, form)
        return redirect("accounts:provider_detail", slug=slug)

    def _key_step(self, request: HttpRequest, provider: IdentityProvider, step: str) -> HttpResponse:
        try:
            KEY_STEPS[step](principal=principal_of(request), provider=provider)
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect("accounts:provider_detail", slug=provider.slug)

    def _remove(self, request: HttpRequest, provider: IdentityProvider) -> HttpResponse:
        try:
            remove_provider(principal=principal_of(request), provider=provider)
        except (LastAdminError, InputRefusedError) as error:
            messages.error(request, str(error))
            return redirect("accounts:provider_detail", slug=provider.slug)
        messages.success(request, f"{provider} is gone, with the rights that came from it.")
        return redirect("accounts:provider_list")

    def _page(
        self, request: HttpRequest, provider: IdentityProvider, form: ProviderForm, tried: Any = None
    ) -> HttpResponse:
        keys = keys_of(provider=provider)
        page = {
            "title": str(provider),
            "provider": provider,
            "state": _state(provider),
            "kind": KIND_WORDS[ProviderKind(provider.kind)],
            "form": form,
            "tried": tried,
            "addresses": _addresses(request, provider),
            "keys": keys,
            "may_announce": not any(key.state == ProviderKey.State.NEXT for key, _ in keys),
            "certificates": certificates_of(provider=provider),
        }
        return render(request, "accounts/provider_detail.html", page)


def _kind(kind: str) -> ProviderKind:
    try:
        return ProviderKind(kind)
    except ValueError:
        raise Http404 from None


def _provider(slug: str) -> IdentityProvider:
    provider = provider_by_slug(slug=slug)
    if provider is None:
        raise Http404
    return provider


def _form(provider: IdentityProvider) -> ProviderForm:
    given = dict(provider.configuration)
    if "scopes" in given:
        given["scopes"] = " ".join(given["scopes"])
    lines = []
    for one in provider.mappings.all():
        role_part = f"{one.role} for {one.team.slug}" if one.role and one.team else one.role
        lines.append(f"{one.group}: {role_part or f'member of {one.team.slug if one.team else None}'}")
    initial = {**given, "slug": provider.slug, "name": provider.name, "mappings": "\n".join(lines)}
    return ProviderForm(kind=ProviderKind(provider.kind), known=True, initial=initial)


def _saved(request: HttpRequest, form: ProviderForm) -> bool:
    order = form.order()
    try:
        order["configuration"] = configuration_with_metadata(
            kind=form.kind, configuration=order["configuration"], metadata=form.metadata()
        )
        provider = save_provider(principal=principal_of(request), **order)
    except InputRefusedError as error:
        for problem in error.problems:
            form.add_error(problem.where if problem.where in form.fields else None, str(problem.allowed))
        return False
    messages.success(request, f"{provider} is saved. Try it before you rely on it.")
    return True


def _addresses(request: HttpRequest, provider: IdentityProvider) -> list[tuple[str, str]]:
    """Return what the provider has to be told about this site."""
    names = {
        ProviderKind.OIDC: [("Redirect address", "openid_connect_callback")],
        ProviderKind.SAML: [
            ("Metadata and entity ID", "saml_metadata"),
            ("Answers go to", "saml_acs"),
            ("Single logout", "saml_sls"),
        ],
    }.get(ProviderKind(provider.kind), [])
    told = [(label, request.build_absolute_uri(reverse(name, args=[provider.slug]))) for label, name in names]
    if provider.kind == ProviderKind.SCIM:
        told.append(("Base address", request.build_absolute_uri("/scim/v2/")))
    return told
