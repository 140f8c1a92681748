"""The form that asks for an evidence pack."""

from typing import Any

from django import forms

from ledger.data import EVIDENCE_NAMES, EvidenceType
from ledger.data.packs import Selection
from ledger.models import Forwarder


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
    region = forms.SlugField(
        required=False, max_length=63, label="Goes to region", help_text="Empty: it stays in this site's region."
    )
    region_reason = forms.CharField(
        required=False, max_length=500, label="Reason to leave the region", help_text="Needed when it does."
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


class ForwarderForm(forms.Form):
    """A destination that is told every entry."""

    name = forms.SlugField(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    kind = forms.ChoiceField(choices=Forwarder.Kind.choices)
    address = forms.CharField(
        max_length=500, help_text="tls://siem.example.org:6514, https://collector.example.org/v1/logs, or a webhook's."
    )
    secret = forms.CharField(
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
        help_text="OTLP: headers, as Authorization: Bearer …; webhook: empty makes one; syslog: client certificate and "
        "key (PEM), if the receiver asks for one. It is encrypted and never shown again.",
    )
    trust = forms.CharField(
        required=False,
        max_length=50_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="Certificates to trust",
        help_text="PEM; empty means those of this machine.",
    )
    allow = forms.CharField(
        required=False,
        max_length=1000,
        label="Allowed private hosts",
        help_text="Hosts or networks (10.0.0.0/8) that this address may be at although they are private.",
    )
    confirmation = forms.ChoiceField(
        choices=Forwarder.Confirmation.choices,
        label="Confirmed by (syslog)",
        help_text="Syslog has no answer. A receiver that closes TLS properly has read everything before.",
    )
    region = forms.SlugField(
        required=False, max_length=63, label="Is in region", help_text="Of the catalog; needed where data must stay."
    )
    region_reason = forms.CharField(
        required=False,
        max_length=500,
        label="Reason",
        help_text="Needed when it is outside of where the data must stay.",
    )
    alarm_minutes = forms.IntegerField(min_value=1, max_value=10_080, initial=15, label="Alarm when behind, minutes")
    from_now = forms.BooleanField(required=False, label="Begin with what happens from now on, not with the whole log")


class PlaceForm(forms.Form):
    """Where a destination is."""

    region = forms.SlugField(max_length=63, label="Is in region", help_text="Of the catalog.")
    reason = forms.CharField(
        required=False, max_length=500, help_text="Needed when it is outside of where the data must stay."
    )


class RewindForm(forms.Form):
    """Where a destination goes on."""

    seq = forms.IntegerField(min_value=0, max_value=2**62, label="Go on from entry")
    reason = forms.CharField(max_length=500, help_text="It is recorded.")
