"""Why somebody was or was not paged, and the editor that shows what a draft would change before it is saved."""

import yaml
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.data import Capability
from core.parsing import InputRefusedError, load_yaml_documents
from incidents.forms import DocumentsForm
from incidents.selectors import configured_documents, explain_incident
from incidents.services import Preview, apply_documents, preview_documents
from incidents.views.access import RoomView


class ExplainView(RoomView):
    """The chain of decisions of one incident, in words."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        incident = self.incident_or_404(reference)
        context = {
            "title": f"Why: {incident.reference}",
            "incident": incident,
            "chapters": explain_incident(incident=incident),
        }
        return render(request, "incidents/explain.html", context)


class PolicyEditorView(RoomView):
    """Routes, policies and schedules as YAML; a draft is tried on the last days before it is saved."""

    def get(self, _: HttpRequest) -> HttpResponse:
        text = yaml.safe_dump_all(configured_documents(), allow_unicode=True, sort_keys=False)
        return self._page(DocumentsForm(initial={"documents": text, "days": 7}))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = DocumentsForm(request.POST)
        if not form.is_valid():
            return self._page(form)
        try:
            documents = load_yaml_documents(form.cleaned_data["documents"], source="draft")
            if request.POST.get("step") == "save":
                applied = apply_documents(principal=self.principal, documents=documents, source="draft")
                messages.success(request, f"Saved: {', '.join(applied.names) or 'nothing'}.")
                return redirect("incidents:policy_editor")
            found = preview_documents(principal=self.principal, documents=documents, days=form.cleaned_data["days"])
        except InputRefusedError as error:
            form.add_error("documents", str(error))
            return self._page(form)
        return self._page(form, found)

    def _page(self, form: DocumentsForm, preview: Preview | None = None) -> HttpResponse:
        if not self.principal.may(Capability.ALERTING_EDIT):
            raise PermissionDenied("Changing routes, policies and schedules needs the role admin.")
        context = {
            "title": "Routes, policies, schedules",
            "intro": "Change the text, see what it would have done with the alerts of the last days, then save.",
            "form": form,
            "preview": preview,
        }
        return render(self.request, "incidents/policy_editor.html", context)
