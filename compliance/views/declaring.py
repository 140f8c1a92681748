"""A page that takes in what the organization declares, for people without a shell."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.services import principal_of
from compliance.services import Loaded, apply_documents
from compliance.views.base import FormView
from core.parsing import load_yaml_documents, refuse

MAX_DOCUMENTS = 5 * 1024 * 1024


class DeclareForm(forms.Form):
    """Controls, risks, vendors and policies as YAML, typed or as a file."""

    text = forms.CharField(
        label="YAML",
        required=False,
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false", "class": "form-control font-monospace"}),
        help_text="Documents parted by ---; kinds are Control, Risk, Vendor and Policy.",
    )
    file = forms.FileField(required=False, help_text="Instead of the text above; at most 5 MB.")
    only_check = forms.BooleanField(
        label="Check only", required=False, help_text="Say what would change, and change nothing."
    )

    def raw(self) -> bytes:
        """Return what was handed in."""
        upload = self.cleaned_data["file"]
        raw: bytes = upload.read() if upload else self.cleaned_data["text"].encode()
        return raw

    def clean(self) -> dict[str, Any]:
        """Ask for one of the two."""
        given: dict[str, Any] = super().clean() or {}
        upload = given.get("file")
        if not upload and not given.get("text", "").strip():
            raise forms.ValidationError("Type documents, or choose a file.")
        if upload and upload.size > MAX_DOCUMENTS:
            raise forms.ValidationError(f"The file has {upload.size} bytes; at most {MAX_DOCUMENTS} are allowed.")
        return given


def in_words(found: Loaded) -> str:
    """Say what documents changed."""
    parts = [
        f"{word}: {', '.join(names)}"
        for word, names in (("new", found.created), ("changed", found.changed), ("as before", found.unchanged))
        if names
    ]
    return "; ".join(parts) or "nothing"


class DeclareView(FormView):
    """Declare controls, risks, vendors and policies: all of it or, with one mistake, nothing."""

    form_class = DeclareForm
    heading = "Declare as YAML"
    intro = "What a file says is what holds: a changed document makes a new version, the same again changes nothing."
    button = "Take it in"

    def back(self) -> tuple[str, str]:
        return "Controls", reverse("compliance:control_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        documents = load_yaml_documents(form.raw(), source="text")
        if not documents:
            raise refuse("text", found="no document", allowed="at least one is allowed")
        only = form.cleaned_data["only_check"]
        found = apply_documents(principal=principal_of(request), documents=documents, source="text", dry_run=only)
        if only:
            messages.info(request, f"Checked, nothing was changed. It would be {in_words(found)}.")
            return self._page(request, form)
        messages.success(request, f"Taken in: {in_words(found)}.")
        return redirect("compliance:control_list")
