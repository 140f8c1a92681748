"""SLO packs: what teams promise themselves, filled in, looked at and applied."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from accounts.data import Capability
from core.parsing import InputRefusedError, load_yaml_documents
from reliability.domain.packs import Pack
from reliability.forms import PackForm
from reliability.selectors.packs import packs
from reliability.services import apply_documents
from reliability.views.access import RoomView


class PackListView(RoomView):
    """Every pack, with what it promises."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "title": "SLO packs",
            "intro": "What teams promise themselves, ready to be filled in; once applied, a pack is plain OpenSLO.",
            "packs": packs().values(),
        }
        return TemplateResponse(request, "reliability/packs.html", context)


class PackDetailView(RoomView):
    """One pack: its parameters, the documents as they would be applied, what would change."""

    def get(self, request: HttpRequest, name: str) -> HttpResponse:
        pack = _find(name)
        initial = {key: request.GET[key] for key in pack.parameters if key in request.GET}
        return self._page(pack, PackForm(initial=initial, pack=pack, principal=self.principal))

    def post(self, request: HttpRequest, name: str) -> HttpResponse:
        pack = _find(name)
        if not self.principal.may_somewhere(Capability.SLO_EDIT):
            raise PermissionDenied("Your roles do not change SLOs.")
        form = PackForm(request.POST, pack=pack, principal=self.principal)
        if not form.is_valid():
            return self._page(pack, form)
        preview = "preview" in request.POST
        try:
            text = pack.filled(form.cleaned_data)
            outcome = apply_documents(
                principal=self.principal,
                documents=load_yaml_documents(text, source=f"{name}.yaml"),
                source=f"{name}.yaml",
                dry_run=preview,
            )
        except (ValueError, InputRefusedError) as error:
            form.add_error(None, str(error))
            return self._page(pack, form)
        if preview:
            return self._page(pack, form, text=text, outcome=outcome)
        changed = [*outcome["created"], *outcome["changed"]]
        messages.success(request, f"Applied: {', '.join(changed)}." if changed else "Nothing changed.")
        return redirect("reliability:slo_list")

    def _page(
        self, pack: Pack, form: PackForm, *, text: str = "", outcome: dict[str, list[str]] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {
            "title": pack.title,
            "pack": pack,
            "form": form,
            "text": text or pack.template,
            "outcome": {word: names for word, names in (outcome or {}).items() if names and word != "diff"},
            "previewed": outcome is not None,
            "may_apply": self.principal.may_somewhere(Capability.SLO_EDIT),
        }
        return TemplateResponse(self.request, "reliability/pack_detail.html", context)


def _find(name: str) -> Pack:
    pack = packs().get(name)
    if pack is None:
        raise Http404("There is no pack of this name.")
    return pack
