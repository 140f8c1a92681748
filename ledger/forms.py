"""The form that asks for an evidence pack."""

from typing import Any

from django import forms

from ledger.data import EVIDENCE_NAMES, EvidenceType
from ledger.data.packs import Selection


class PackForm(forms.Form):
    """What a pack is to hold."""

    title = forms.CharField(max_length=120, initial="Evidence", help_text="It stands on the first page.")
    evidence_types = forms.MultipleChoiceField(
        choices=[(kind.value, f"{kind.value}: {name}") for kind, name in EVIDENCE_NAMES.items()],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Kinds of evidence",
        help_text="None chosen means all.",
    )
    subject = forms.CharField(max_length=200, required=False, help_text="Only about this, as incident:INC-3.")
    since = forms.DateTimeField(
        required=False, label="From", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    until = forms.DateTimeField(
        required=False, label="Before", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until <= since:
            self.add_error("until", "The end must come after the beginning.")
        return cleaned

    def selection(self) -> Selection:
        """Return what the form asks for."""
        return Selection(
            evidence_types=tuple(EvidenceType(kind) for kind in self.cleaned_data["evidence_types"]),
            subjects=(self.cleaned_data["subject"],) if self.cleaned_data["subject"] else (),
            since=self.cleaned_data["since"],
            until=self.cleaned_data["until"],
        )
