"""Who did it, in words."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from django import template
from django.template.context import Context

from accounts.selectors import name_of

register = template.Library()
REMEMBERED = "names_of_references"


@register.simple_tag(takes_context=True)
def who(context: Context, reference: str) -> str:
    """Name somebody by their reference ("user:3"); each is looked up once for a page."""
    request = context.get("request")
    known = vars(request).setdefault(REMEMBERED, {}) if request is not None else {}
    if reference not in known:
        known[reference] = name_of(reference)
    return str(known[reference])


FACTOR_NAMES = {"totp": "Codes of an app", "recovery_codes": "Recovery codes", "webauthn": "Passkey"}


@register.filter
def factor_name(factor: object) -> str:
    """Name a second factor."""
    return FACTOR_NAMES.get(str(getattr(factor, "type", "")), "Second factor")


@register.simple_tag(takes_context=True)
def address_by_name(context: Context) -> str:
    """Return where a site that was opened by a number is found by name, as passkeys need it; "" where it has one."""
    parts = urlsplit(context["request"].build_absolute_uri("/"))
    try:
        number = ip_address(parts.hostname or "")
    except ValueError:
        return ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://localhost{port}" if number.is_loopback else "its name"
