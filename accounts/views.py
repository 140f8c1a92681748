"""Sign-in and sign-out."""

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponse

from accounts.forms import SignInForm
from accounts.models import User
from accounts.services import signed_in


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
