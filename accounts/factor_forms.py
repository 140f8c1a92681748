"""Forms that ask for a second factor or a password again; wrong answers count over all processes."""

from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.crypto import salted_hmac

from accounts.adapters import LOCKED, address_of
from accounts.models import User
from accounts.services import sign_in_failed, sign_in_is_locked

# A code is accepted for a minute and a half at most; so many are told in that time, and some more.
REMEMBERED_CODES = 6


class _CountedCode(forms.Form):
    user: User
    authenticator: Authenticator

    def clean_code(self) -> str:
        address = address_of(context.request)
        if sign_in_is_locked(username=self.user.username, address=address):
            raise ValidationError(LOCKED)
        try:
            code = str(super().clean_code())  # type: ignore[misc]  # the form it is mixed into has it
            self._use_up(code)
        except ValidationError:
            sign_in_failed(username=self.user.username, address=address)
            raise
        return code

    def _use_up(self, code: str) -> None:
        """Let a code of the app be good once over all processes; the library remembers it only within its own."""
        if self.authenticator.type != Authenticator.Type.TOTP:
            return
        digest = salted_hmac("accounts.used-code", f"{self.authenticator.pk}:{code}").hexdigest()[:32]
        with transaction.atomic():
            factor = Authenticator.objects.select_for_update().get(pk=self.authenticator.pk)
            used = factor.data.get("used_codes", [])
            if digest in used:
                raise ValidationError("This code was used already; wait for the next one.")
            factor.data["used_codes"] = [*used, digest][-REMEMBERED_CODES:]
            factor.save(update_fields=["data"])


class CodeForm(_CountedCode, AuthenticateForm):  # type: ignore[misc]  # the library's classes are untyped
    """A code at the sign-in."""


class CodeAgainForm(_CountedCode, ReauthenticateForm):  # type: ignore[misc]
    """A code before something dangerous."""


class PasswordAgainForm(forms.Form):
    """The password before something dangerous."""

    password = forms.CharField(
        label="Your password", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def __init__(self, *args: object, user: User, **kwargs: object) -> None:
        self.user = user
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed on

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        if not get_adapter().reauthenticate(self.user, password):
            raise ValidationError("This is not your password.")
        return password
