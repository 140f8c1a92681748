"""Forms of the room's pages."""

from django import forms

from custody.models import LegalHold


class RetentionForm(forms.Form):
    """How long a class of data is kept."""

    keep_days = forms.IntegerField(
        required=False, min_value=1, max_value=36_500, label="Keep for days", help_text="Empty: for ever."
    )
    reason = forms.CharField(max_length=500, help_text="It is recorded.")


class HoldForm(forms.Form):
    """What must not go."""

    kind = forms.ChoiceField(choices=LegalHold.Kind.choices, label="Hold")
    target = forms.CharField(
        max_length=120,
        label="Which",
        help_text="incidents.inbound; gateway; INC-3; an engagement; a team; a user name; "
        "control:backups-restored; 2026-01-01..2026-03-31.",
    )
    reason = forms.CharField(max_length=500, help_text="The case or order; it is recorded.")


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(max_length=500, help_text="It is recorded.")


class ErasureForm(forms.Form):
    """A person to erase, named twice so that it is the right one."""

    reason = forms.CharField(max_length=500, help_text="Their request, or why else; it is recorded.")
    username = forms.CharField(max_length=150, label="User name, once more", help_text="This cannot be undone.")


class OwnExportForm(forms.Form):
    """Where an export goes."""

    region = forms.SlugField(
        required=False, max_length=63, label="Goes to region", help_text="Empty: it stays in this site's region."
    )
    reason = forms.CharField(required=False, max_length=500, help_text="Needed when it leaves the region.")
