from django.urls import URLPattern, URLResolver, path

from accounts.views import (
    AccountView,
    PasswordView,
    PersonCreateView,
    PersonDetailView,
    PersonListView,
    SignInView,
    SignOutView,
    TokenRevokeView,
)

app_name = "accounts"
urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in/", SignInView.as_view(), name="login"),
    path("sign-out/", SignOutView.as_view(), name="logout"),
    path("settings/account/", AccountView.as_view(), name="account"),
    path("settings/account/password/", PasswordView.as_view(), name="password"),
    path("settings/account/tokens/<int:pk>/revoke/", TokenRevokeView.as_view(), name="token_revoke"),
    path("settings/people/", PersonListView.as_view(), name="person_list"),
    path("settings/people/add/", PersonCreateView.as_view(), name="person_create"),
    path("settings/people/<str:username>/", PersonDetailView.as_view(), name="person_detail"),
]
