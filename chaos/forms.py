"""Forms of the chaos pages."""

from django import forms


class ReasonForm(forms.Form):
    """Why a run is stopped, or all of them."""

    reason = forms.CharField(max_length=300, label="Why")
