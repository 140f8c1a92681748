from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.utils.module_loading import import_string

from accounts.views import (
    AccountView,
    PasswordView,
    PersonCreateView,
    PersonDetailView,
    PersonListView,
    SessionEndView,
    SignInAgainView,
    SignInView,
    SignOutView,
    TokenRevokeView,
)
from accounts.views.access import RoleListView, TokenListView
from accounts.views.providers import (
    PolicyView,
    ProviderCreateView,
    ProviderDetailView,
    ProviderListView,
)


def later(name: str, *, from_elsewhere: bool = False) -> Callable[..., HttpResponseBase]:
    """Return a view that imports what it names with its first request: protocols that most sites use seldom."""

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer: HttpResponseBase = import_string(name)(request, *args, **kwargs)
        return answer

    view.csrf_exempt = from_elsewhere  # type: ignore[attr-defined]  # what Django's middleware looks for
    return view


pages: list[URLPattern | URLResolver] = [
    path("sign-in/", SignInView.as_view(), name="login"),
    path("sign-in/again/", SignInAgainView.as_view(), name="again"),
    path("sign-out/", SignOutView.as_view(), name="logout"),
    path("settings/account/", AccountView.as_view(), name="account"),
    path("settings/account/password/", PasswordView.as_view(), name="password"),
    path("settings/account/sessions/end/", SessionEndView.as_view(), name="session_end"),
    path("settings/account/tokens/<int:pk>/revoke/", TokenRevokeView.as_view(), name="token_revoke"),
    path("settings/people/", PersonListView.as_view(), name="person_list"),
    path("settings/people/add/", PersonCreateView.as_view(), name="person_create"),
    path("settings/people/<str:username>/", PersonDetailView.as_view(), name="person_detail"),
    path("settings/roles/", RoleListView.as_view(), name="role_list"),
    path("settings/tokens/", TokenListView.as_view(), name="token_list"),
    path("settings/sign-in/", PolicyView.as_view(), name="sign_in_policy"),
    path("settings/sign-in/providers/", ProviderListView.as_view(), name="provider_list"),
    path("settings/sign-in/providers/add/<str:kind>/", ProviderCreateView.as_view(), name="provider_create"),
    path("settings/sign-in/providers/<slug:slug>/", ProviderDetailView.as_view(), name="provider_detail"),
]

# The library looks these up by its own names.
FACTORS = "allauth.mfa"
factor_pages: list[URLPattern | URLResolver] = [
    path("", later(f"{FACTORS}.base.views.index"), name="mfa_index"),
    path("code/add/", later(f"{FACTORS}.totp.views.activate_totp"), name="mfa_activate_totp"),
    path("code/remove/", later(f"{FACTORS}.totp.views.deactivate_totp"), name="mfa_deactivate_totp"),
    path(
        "recovery-codes/", later(f"{FACTORS}.recovery_codes.views.view_recovery_codes"), name="mfa_view_recovery_codes"
    ),
    path(
        "recovery-codes/new/",
        later(f"{FACTORS}.recovery_codes.views.generate_recovery_codes"),
        name="mfa_generate_recovery_codes",
    ),
    path("passkeys/", later(f"{FACTORS}.webauthn.views.list_webauthn"), name="mfa_list_webauthn"),
    path("passkeys/add/", later(f"{FACTORS}.webauthn.views.add_webauthn"), name="mfa_add_webauthn"),
    path("passkeys/<int:pk>/", later(f"{FACTORS}.webauthn.views.edit_webauthn"), name="mfa_edit_webauthn"),
    path("passkeys/<int:pk>/remove/", later(f"{FACTORS}.webauthn.views.remove_webauthn"), name="mfa_remove_webauthn"),
]
protocols: list[URLPattern | URLResolver] = [
    path("sign-in/", SignInView.as_view(), name="account_login"),
    path("sign-out/", SignOutView.as_view(), name="account_logout"),
    path("sign-in/again/password/", later("allauth.account.views.reauthenticate"), name="account_reauthenticate"),
    path("sign-in/again/code/", later(f"{FACTORS}.base.views.reauthenticate"), name="mfa_reauthenticate"),
    path(
        "sign-in/again/passkey/",
        later(f"{FACTORS}.webauthn.views.reauthenticate_webauthn"),
        name="mfa_reauthenticate_webauthn",
    ),
    path("sign-in/code/", later(f"{FACTORS}.base.views.authenticate"), name="mfa_authenticate"),
    path("sign-in/passkey/", later(f"{FACTORS}.webauthn.views.login_webauthn"), name="mfa_login_webauthn"),
    path("settings/account/factors/", include(factor_pages)),
    path("sign-in/with/<slug:provider_id>/", later("accounts.oidc.login"), name="openid_connect_login"),
    path("sign-in/with/<slug:provider_id>/answer/", later("accounts.oidc.callback"), name="openid_connect_callback"),
    path("sign-in/saml/<slug:organization_slug>/", later("accounts.saml.login"), name="saml_login"),
    path(
        "sign-in/saml/<slug:organization_slug>/answer/",
        later("accounts.saml.acs", from_elsewhere=True),
        name="saml_acs",
    ),
    path("sign-in/saml/<slug:organization_slug>/finish/", later("accounts.saml.finish"), name="saml_finish_acs"),
    path(
        "sign-in/saml/<slug:organization_slug>/sign-out/",
        later("accounts.saml.sign_out", from_elsewhere=True),
        name="saml_sls",
    ),
    path("sign-in/saml/<slug:organization_slug>/metadata/", later("accounts.saml.metadata"), name="saml_metadata"),
]


def scim(name: str) -> Callable[..., HttpResponseBase]:
    """Return a view of the SCIM server; machines call it with a token, never with a session."""
    return later(f"accounts.scim.{name}", from_elsewhere=True)


machines: list[URLPattern | URLResolver] = [
    path("ServiceProviderConfig", scim("service_provider"), name="service_provider"),
    path("ResourceTypes", scim("resource_types"), name="resource_types"),
    path("ResourceTypes/<str:name>", scim("resource_types"), name="resource_type"),
    path("Schemas", scim("schemas"), name="schemas"),
    path("Schemas/<str:name>", scim("schemas"), name="schema"),
    path("Bulk", scim("not_offered"), name="bulk"),
    path("Me", scim("not_offered"), name="me"),
    path(".search", scim("search"), name="search"),
    re_path(r"^(?P<kind>Users|Groups)/\.search$", scim("search"), name="search_kind"),
    path("Users", scim("users"), name="users"),
    path("Users/<str:key>", scim("user"), name="user"),
    path("Groups", scim("groups"), name="groups"),
    path("Groups/<uuid:key>", scim("group"), name="group"),
    path("<path:where>", scim("unknown"), name="unknown"),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("", include((pages, "accounts"))),
    path("scim/v2/", include((machines, "scim"))),
    *protocols,
]
