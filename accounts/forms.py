"""Forms of the account pages."""

import zoneinfo
from datetime import timedelta
from functools import cache
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError

from accounts.data import Capability, Principal, ProviderKind, Role
from accounts.domain.permissions import CAPABILITY_WORDS
from accounts.domain.providers import CONFIGURATIONS, LONGEST_CLOCK_TOLERANCE
from accounts.models import SignInPolicy, Team, User
from accounts.selectors import sign_in_policy
from accounts.services import sign_in_failed, sign_in_is_locked
from core.choosing import LongSelect


class SignInForm(AuthenticationForm):
    """User name and password; locked for a while after too many failures."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This user name and password do not belong together.",
        "locked": "Too many sign-ins failed. Try again in a quarter of an hour, or ask an administrator.",
        "down": "%(name)s does not answer. Whoever has a password kept here, as a break-glass account has, can still "
        "sign in with it.",
        "elsewhere": "Sign in with your provider: passwords kept here are for emergencies only.",
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
            cleaned = dict(super().clean() or {})
        except ValidationError:
            if down := getattr(self.request, "directory_down", ""):
                raise ValidationError(self.error_messages["down"] % {"name": down}, code="down") from None
            sign_in_failed(username=username, address=self.address)
            raise
        user = self.get_user()
        by_directory = getattr(user, "provider_slug", "")
        emergencies = sign_in_policy().local_sign_in == SignInPolicy.LocalSignIn.BREAK_GLASS
        if emergencies and not by_directory and not user.is_break_glass:
            raise ValidationError(self.error_messages["elsewhere"], code="elsewhere")
        return cleaned


@cache
def _zones() -> list[tuple[str, str]]:
    """Return the zones that this machine knows, read once."""
    return [(name, name) for name in sorted(zoneinfo.available_timezones()) if "/" in name or name == "UTC"]


class TimeZoneForm(forms.Form):
    """In which zone times are shown."""

    time_zone = forms.ChoiceField(
        label="Time zone", choices=_zones, widget=LongSelect, help_text="Times on every page are shown in it."
    )


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
        scopes.choices = [(one.value, CAPABILITY_WORDS[one]) for one in Capability if principal.may_somewhere(one)]

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
    time_zone = forms.ChoiceField(choices=_zones, widget=LongSelect, initial="UTC")
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


class PolicyForm(forms.Form):
    """The rules of signing in."""

    second_factor_roles = forms.MultipleChoiceField(
        label="A second factor is needed by whoever is",
        choices=[(role.value, role.value.replace("-", " ")) for role in Role],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="They set it up at their next sign-in, before anything else opens.",
    )
    local_sign_in = forms.ChoiceField(
        label="Passwords kept here",
        choices=[("everybody", "everybody may use theirs"), ("break-glass", "only break-glass accounts may")],
    )
    idle_minutes = forms.IntegerField(label="Minutes without use until a session ends", min_value=1, max_value=720)
    life_hours = forms.IntegerField(label="Hours until a session ends in any case", min_value=1, max_value=336)
    fresh_minutes = forms.IntegerField(
        label="Minutes until a dangerous action asks again",
        min_value=1,
        max_value=240,
        help_text="Rights, tokens, keys, releasing the kill switch or the site.",
    )


class ProviderForm(forms.Form):
    """A provider of identities; its kind decides which further fields there are."""

    slug = forms.SlugField(max_length=63, label="Short name", help_text="Part of its addresses here; stays as it is.")
    name = forms.CharField(max_length=120, help_text="What the sign-in page calls it.")
    secret = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="The client secret, or the password of the bind account. Empty: as it is. Never shown again.",
    )
    mappings = forms.CharField(
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        label="What its groups mean",
        help_text="A line each: GROUP: ROLE, GROUP: ROLE for TEAM, or GROUP: member of TEAM.",
    )

    def __init__(self, *args: Any, kind: ProviderKind, known: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        fields = CONFIGURATIONS[kind].model_fields
        self.own = sorted(fields, key=lambda name: fields[name].annotation is bool)
        for name, field in fields.items():
            self.fields[name] = _field_for(name, field.annotation, field.default)
        if kind is ProviderKind.SAML:
            self.fields["metadata"] = forms.FileField(label="Its metadata", required=False, help_text=METADATA_HELP)
            for name in TOLD_BY_METADATA:
                self.fields[name].required = False
        self.order_fields(["slug", "name", "metadata", "metadata_url", *self.own, "secret", "mappings"])
        if kind in {ProviderKind.SAML, ProviderKind.SCIM}:
            del self.fields["secret"]
        if known:
            self.fields["slug"].disabled = True

    def metadata(self) -> bytes:
        """Return the metadata that were uploaded, if any."""
        uploaded = self.cleaned_data.get("metadata")
        return bytes(uploaded.read()) if uploaded else b""

    def clean_mappings(self) -> list[tuple[str, str, str]]:
        return [_mapping(line) for line in self.cleaned_data["mappings"].splitlines() if line.strip()]

    def order(self) -> dict[str, Any]:
        """Return what `save_provider` is asked for."""
        given = {name: self.cleaned_data[name] for name in self.own if self.cleaned_data[name] is not None}
        if "scopes" in given:
            given["scopes"] = given["scopes"].split()
        secret = self.cleaned_data.get("secret") or None
        return {
            "slug": self.cleaned_data["slug"],
            "name": self.cleaned_data["name"],
            "kind": self.kind,
            "configuration": given,
            "secret": secret,
            "mappings": self.cleaned_data["mappings"],
        }


METADATA_HELP = "An XML file that the provider hands out: it fills in entity ID, addresses and certificates."
TOLD_BY_METADATA = ("entity_id", "sso_url", "slo_url", "certificate")
LABELS = {
    "issuer": ("Issuer", "The address under which its discovery document is found."),
    "client_id": ("Client ID", "As registered there for this site."),
    "scopes": ("Scopes", "Parted by spaces."),
    "groups_claim": ("Claim with the groups", ""),
    "asks_second_factor": ("It asks for a second factor itself", ""),
    "private_network": ("It is on a private network", ""),
    "creates_people": ("Who signs in for the first time gets an account", ""),
    "links_by_mail": ("The same confirmed mail address is the same person", ""),
    "entity_id": ("Entity ID", "From its metadata."),
    "sso_url": ("Sign-in address", "Its HTTP-Redirect endpoint."),
    "slo_url": ("Sign-out address", "Its endpoint for single logout; empty: sessions end apart."),
    "slo_by_post": ("Sign-out goes there by HTTP-POST, not by HTTP-Redirect", ""),
    "metadata_url": (
        "Address of its metadata",
        "Read now where the fields below are empty, and four times a day from then on: a new certificate is followed.",
    ),
    "certificate": ("Signing certificates", "In PEM, from its metadata; several while the provider changes them."),
    "clock_tolerance_seconds": ("Seconds that the clocks may differ", "0 to 300."),
    "must_encrypt": ("Assertions have to be encrypted", ""),
    "signs_requests": ("It wants requests to be signed", ""),
    "groups_attribute": ("Attribute with the groups", ""),
    "mail_attribute": ("Attribute with the mail address", ""),
    "name_attribute": ("Attribute with the full name", ""),
    "address": ("Address", "ldaps://directory.example.org"),
    "bind_dn": ("Bind as", "The name that searches; empty searches anonymously. Its password is the secret."),
    "people": ("Where people are", "ou=people,dc=example,dc=org"),
    "person_filter": ("Filter of a person", "(uid=%(user)s); Active Directory: (sAMAccountName=%(user)s)"),
    "groups": ("Where groups are", "Empty: groups are not read."),
    "group_class": ("Class of groups", "groupOfNames, groupOfUniqueNames, posixGroup; Active Directory: group"),
    "start_tls": ("Use StartTLS", ""),
    "ca_file": ("File with its certificate authority", "On this machine; empty: those that the machine trusts."),
}


def _field_for(name: str, annotation: Any, default: Any) -> forms.Field:
    label, help_text = LABELS[name]
    if annotation is bool:
        return forms.BooleanField(label=label, required=False, initial=bool(default))
    if name == "certificate":
        return forms.CharField(label=label, help_text=help_text, widget=forms.Textarea(attrs={"rows": 4}))
    if annotation is int:
        return forms.IntegerField(
            label=label, help_text=help_text, min_value=0, max_value=LONGEST_CLOCK_TOLERANCE, initial=default
        )
    initial = " ".join(default) if isinstance(default, tuple) else default
    needed = not isinstance(initial, str)
    return forms.CharField(
        label=label, help_text=help_text, max_length=500, required=needed, initial=None if needed else initial
    )


def _mapping(line: str) -> tuple[str, str, str]:
    group, colon, meaning = line.rpartition(":")
    words = meaning.split()
    if colon and len(words) == 1:
        return group.strip(), words[0], ""
    if colon and len(words) == 3 and words[1] == "for":
        return group.strip(), words[0], words[2]
    if colon and len(words) == 3 and words[:2] == ["member", "of"]:
        return group.strip(), "", words[2]
    raise ValidationError(f"“{line.strip()[:80]}”: write GROUP: ROLE, GROUP: ROLE for TEAM, or GROUP: member of TEAM.")
