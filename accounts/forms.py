"""Forms of the account pages."""

import zoneinfo
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError

from accounts.data import Capability, Principal, Role
from accounts.models import Team, User
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


def _zones() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(zoneinfo.available_timezones()) if "/" in name or name == "UTC"]


class TimeZoneForm(forms.Form):
    """In which zone times are shown."""

    time_zone = forms.ChoiceField(label="Time zone", choices=_zones, help_text="Times on every page are shown in it.")


class TokenForm(forms.Form):
    """A new API token; offers the capabilities that its owner has."""

    name = forms.CharField(max_length=120, help_text="What uses it, as `deploy pipeline of gateway`.")
    scopes = forms.MultipleChoiceField(
        label="May", widget=forms.CheckboxSelectMultiple, help_text="No more than you may yourself."
    )
    days = forms.IntegerField(label="Days until it expires", min_value=1, max_value=366, initial=90)

    def __init__(self, *args: Any, principal: Principal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes = self.fields["scopes"]
        assert isinstance(scopes, forms.MultipleChoiceField)  # noqa: S101 declared above
        scopes.choices = [(one.value, one.value) for one in Capability if principal.may_somewhere(one)]

    def order(self) -> dict[str, Any]:
        """Return what `create_api_token` is asked for."""
        return {
            "name": self.cleaned_data["name"],
            "scopes": [Capability(scope) for scope in self.cleaned_data["scopes"]],
            "life": timedelta(days=self.cleaned_data["days"]),
        }


class PasswordForm(forms.Form):
    """A new password for one's own account."""

    old = forms.CharField(
        label="Your password now", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    new = forms.CharField(
        label="The new one",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least twelve characters.",
    )
    again = forms.CharField(
        label="The new one again", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or {})
        if "new" in cleaned and cleaned["new"] != cleaned.get("again"):
            self.add_error("again", "The two do not agree.")
        return cleaned


class PersonForm(forms.Form):
    """A new person."""

    username = forms.CharField(label="User name", max_length=150, validators=[UnicodeUsernameValidator()])
    full_name = forms.CharField(max_length=150)
    email = forms.EmailField(label="Mail", required=False)
    time_zone = forms.ChoiceField(choices=_zones, initial="UTC")
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least twelve characters. Tell it to them in person; they sign in with it.",
    )

    def clean_username(self) -> str:
        username = str(self.cleaned_data["username"])
        if User.objects.filter(username=username).exists():
            raise ValidationError("Somebody has this user name already.")
        return username

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        validate_password(password)
        return password


class RoleForm(forms.Form):
    """A role to give, for the whole site or for one team's things."""

    role = forms.ChoiceField(choices=[(role.value, role.value.replace("-", " ")) for role in Role])
    team = forms.ModelChoiceField(
        queryset=Team.objects.all(), required=False, empty_label="the whole site", label="For"
    )
