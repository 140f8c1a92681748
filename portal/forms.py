"""What a reader of the audit log may ask for."""

from datetime import UTC, datetime
from typing import Any

from django import forms

from ledger.selectors import Place, entry_types
from portal.data import AuditFilters


class AuditForm(forms.Form):
    """The filters, as the address carries them."""

    who = forms.CharField(max_length=150, required=False, label="Who", help_text="A user name, or system:escalation.")
    kind = forms.ChoiceField(required=False, label="What")
    about = forms.CharField(max_length=200, required=False, label="About", help_text="As user:bob or incident:INC-3.")
    since = forms.DateTimeField(
        required=False, label="From", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    until = forms.DateTimeField(
        required=False, label="Before", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    words = forms.CharField(
        max_length=200, required=False, label="Words", help_text="Found in names, actions, reasons, addresses."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = [(name, name.replace(".", " ").replace("_", " ")) for name in entry_types()]
        self.fields["kind"].choices = [("", "anything"), *kinds]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("who", "about", "words"):
            cleaned[name] = str(cleaned.get(name, "")).replace("\x00", "").strip()
        return cleaned

    def filters(self) -> AuditFilters:
        """Return what was asked for; what was not understood does not narrow, and its message is on the page."""
        given = self.cleaned_data
        return AuditFilters(
            who=given.get("who", ""),
            kind=given.get("kind", ""),
            about=given.get("about", ""),
            words=given.get("words", ""),
            since=given.get("since"),
            until=given.get("until"),
        )


def read_place(text: str) -> Place | None:
    """Return the place that an address names (`1700000000000000-41`), or None."""
    instant, _, key = text.partition("-")
    if not (instant.isdecimal() and key.isdecimal() and len(instant) < 18 and len(key) < 18):
        return None
    try:
        at = datetime.fromtimestamp(int(instant) // 1_000_000, tz=UTC).replace(microsecond=int(instant) % 1_000_000)
    except (ValueError, OverflowError, OSError):
        return None
    return Place(at, int(key))


def written_place(place: Place) -> str:
    """Return a place for an address."""
    return f"{int(place.recorded_at.timestamp()) * 1_000_000 + place.recorded_at.microsecond}-{place.key}"
