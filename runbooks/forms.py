"""Forms of the runbook pages."""

from typing import Any

from django import forms


class StartForm(forms.Form):
    """The inputs that a runbook declares."""

    def __init__(self, *args: Any, inputs: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, spec in inputs.items():
            kind = forms.IntegerField if spec["type"] == "integer" else forms.CharField
            self.fields[name] = kind(label=name, required=spec["required"], initial=spec["default"])

    def given(self) -> dict[str, Any]:
        """Return what was filled in."""
        return {name: value for name, value in self.cleaned_data.items() if value not in {None, ""}}


class CancelForm(forms.Form):
    """Why a run is ended."""

    reason = forms.CharField(max_length=300, help_text="What it has done stays done.")
