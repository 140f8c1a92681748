from django.urls import URLPattern, URLResolver, path

from accounts.views import SignInView, SignOutView

app_name = "accounts"
urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in/", SignInView.as_view(), name="login"),
    path("sign-out/", SignOutView.as_view(), name="logout"),
]
