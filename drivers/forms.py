"""Forms of the site's own pages."""

from django import forms


class ReleaseForm(forms.Form):
    """What was looked at before a restored site may act again."""

    note = forms.CharField(max_length=300, label="What was looked at", help_text="Kept in the ledger.")
    send_waiting = forms.BooleanField(
        required=False,
        label="Also send messages that waited in the backup",
        help_text="Most likely the original has sent them since; without this they are withdrawn.",
    )
