"""Forms of the account pages."""

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from accounts.services import sign_in_failed, sign_in_is_locked


class SignInForm(AuthenticationForm):
    """User name and password; locked for a while after too many failures."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This user name and password do not belong together.",
        "locked": "Too many sign-ins failed. Try again in a quarter of an hour, or ask an administrator.",
    }

    @property
    def address(self) -> str:
        """The caller's address."""
        return str(self.request.META.get("REMOTE_ADDR", "")) if self.request else ""

    def clean(self) -> dict[str, object]:
        username = str(self.cleaned_data.get("username", ""))
        if sign_in_is_locked(username=username, address=self.address):
            raise ValidationError(self.error_messages["locked"], code="locked")
        try:
            return dict(super().clean() or {})
        except ValidationError:
            sign_in_failed(username=username, address=self.address)
            raise
