"""Forms of the runbook pages."""

from typing import Any

from django import forms
from django.utils.html import escape


class StartForm(forms.Form):
    """The inputs that a runbook declares."""

    def __init__(self, *args: Any, inputs: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, spec in inputs.items():
            self.fields[name] = _field(name, spec)

    def given(self) -> dict[str, Any]:
        """Return what was filled in."""
        return {name: value for name, value in self.cleaned_data.items() if value not in {None, ""}}


def _field(name: str, spec: dict[str, Any]) -> forms.Field:
    default = spec["default"]
    common: dict[str, Any] = {
        "label": name.replace("_", " ").capitalize(),
        "required": bool(spec["required"]) and default is None,
        "initial": ", ".join(default) if isinstance(default, list) else default,
        "help_text": escape(spec.get("description") or ("Parted by commas." if spec["type"] == "list" else "")),
    }
    if spec.get("choices") and spec["type"] != "list":
        return forms.ChoiceField(choices=[(one, one) for one in spec["choices"]], **common)
    if spec["type"] == "boolean":
        return forms.ChoiceField(choices=[("true", "yes"), ("false", "no")], **common)
    return forms.IntegerField(**common) if spec["type"] == "integer" else forms.CharField(max_length=4000, **common)


class HandOverForm(forms.Form):
    """Who operates a run from now on."""

    to = forms.CharField(max_length=150, label="User name", help_text="Somebody who may run it.")


class CancelForm(forms.Form):
    """Why a run is ended."""

    reason = forms.CharField(max_length=300)
    roll_back = forms.BooleanField(required=False, label="Undo what it has done, in reverse order")
