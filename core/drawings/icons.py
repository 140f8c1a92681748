"""Icons from the vendored sprite."""

from functools import cache
from pathlib import Path

from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

SPRITE = "vendor/tabler-icons/sprite.svg"


@cache
def icon_names() -> frozenset[str]:
    """Return the names of the icons in the sprite."""
    listing = Path(settings.BASE_DIR) / "static" / "vendor" / "tabler-icons" / "icons.txt"
    return frozenset(listing.read_text().split())


def icon_reference(name: str) -> str:
    """Return the address of an icon inside the sprite; a name that is not there gives a plain point."""
    return f"{static(SPRITE)}#{name if name in icon_names() else 'point'}"


def draw_icon(name: str, *, classes: str = "") -> SafeString:
    """Return an icon as decoration: a screen reader skips it, so the word beside it must say everything."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}"/></svg>',
        classes,
        icon_reference(name),
    )
