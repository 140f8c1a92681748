"""Write an experiment and see at once what it would hurt, how it is undone, and what every guard says."""

from typing import Any

import yaml
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import principal_of
from catalog.selectors import services_visible
from chaos.models import Experiment
from chaos.selectors import experiments_visible, latest_revision
from chaos.services import apply_documents, ask_guards, plan_run, predicted_budgets
from chaos.services.templates import filled, templates
from core.choosing import offered
from core.parsing import InputRefusedError, load_yaml_documents
from reliability.selectors import slos_visible

SOURCE = "experiment"
MOST_TEXT = 100_000


class BuilderView(LoginRequiredMixin, View):
    """Begin from a template or from an experiment that is there, change it, see the plan, save it."""

    def get(self, request: HttpRequest) -> HttpResponse:
        principal = _editor(request)
        text, problem = "", ""
        chosen = {
            name: request.GET.get(name, "").strip()
            for name in ("template", "service", "slo", "group", "proxy", "host", "progress", "namespace")
        }
        if chosen["template"] and not chosen["slo"]:
            own = slos_visible(viewer=principal).filter(service__slug=chosen["service"]).order_by("slug").first()
            chosen["slo"] = own.slug if own else ""
        if slug := request.GET.get("from", ""):
            text = _text_of(principal, slug)
        elif chosen["template"]:
            try:
                text = _from_template(principal, chosen)
            except InputRefusedError as error:
                problem = str(error)
        picked = next((one for one in templates() if one.name == chosen["template"]), None)
        missing = [place for place in (picked.places if picked else ()) if f"{{{place}}}" in text]
        if missing:
            words = {"slo": "SLO", "service": "service", "environment": "environment"}
            problem = f"Not filled in yet: {', '.join(words.get(place, place) for place in missing)}."
        asked = [place for place in (picked.places if picked else []) if place not in {"service", "environment", "slo"}]
        context = {
            "title": "Write an experiment",
            "intro": "The plan beside the text is made anew as you write; nothing is touched.",
            "text": text,
            "problem": problem,
            "templates": templates(),
            "picked": picked,
            "places": [(place, chosen.get(place, "")) for place in asked],
            "chosen": chosen,
            "services": offered(services_visible(viewer=principal).order_by("name")),
            "slos": offered(slos_visible(viewer=principal).prefetch_related(None).order_by("slug")),
            **(_preview(principal, text) if text and not missing else {}),
        }
        return render(request, "chaos/builder.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        principal = _editor(request)
        text = request.POST.get("text", "")[:MOST_TEXT]
        if request.htmx:  # type: ignore[attr-defined]
            return render(request, "chaos/builder_plan.html", _preview(principal, text))
        try:
            documents = load_yaml_documents(text.encode(), source=SOURCE)
            apply_documents(principal=principal, documents=documents, source=SOURCE)
        except InputRefusedError as error:
            context = {
                "title": "Write an experiment",
                "text": text,
                "problem": str(error),
                "templates": templates(),
                "services": offered(services_visible(viewer=principal).order_by("name")),
                "slos": offered(slos_visible(viewer=principal).prefetch_related(None).order_by("slug")),
            }
            return render(request, "chaos/builder.html", context, status=400)
        name = str(documents[0][0]["metadata"]["name"])
        messages.success(request, "Saved. Somebody else approves the plan before it runs.")
        if experiments_visible(viewer=principal).filter(slug=name).exists():
            return redirect("chaos:experiment_detail", slug=name)
        return redirect("chaos:experiment_list")


def _editor(request: HttpRequest) -> Principal:
    principal = principal_of(request)
    if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
        raise Http404
    if not principal.may_somewhere(Capability.CHAOS_EDIT):
        raise PermissionDenied("Chaos operators and administrators write experiments.")
    return principal


def _text_of(principal: Principal, slug: str) -> str:
    experiment = experiments_visible(viewer=principal).filter(slug=slug).first()
    if experiment is None:
        raise Http404
    definition = latest_revision(experiment=experiment).definition
    return yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100)


def _from_template(principal: Principal, chosen: dict[str, str]) -> str:
    values = {name: value for name, value in chosen.items() if value and name != "template"}
    service = services_visible(viewer=principal).filter(slug=chosen["service"]).select_related("environment").first()
    if service is not None:
        values["environment"] = service.environment.slug
    places = next((one.places for one in templates() if one.name == chosen["template"]), [])
    return filled(chosen["template"], {name: value for name, value in values.items() if name in places})


def _preview(principal: Principal, text: str) -> dict[str, Any]:
    """Return the plan of an experiment as if it were saved, or what is wrong with it. Nothing of it is kept."""
    try:
        with transaction.atomic():
            documents = load_yaml_documents(text.encode(), source=SOURCE)
            apply_documents(principal=principal, documents=documents, source=SOURCE)
            found = _planned(principal, _name_of(documents))
            transaction.set_rollback(True)
    except (InputRefusedError, PermissionDenied) as error:
        return {"problem": str(error)}
    return found


def _planned(principal: Principal, name: str) -> dict[str, Any]:
    experiment = Experiment.objects.select_related("environment").filter(slug=name).first()
    if experiment is None:
        return {"problem": "This is no experiment; it can be saved, and has no plan."}
    plan = plan_run(experiment=experiment)
    return {
        "plan": plan,
        "faults": list(zip(plan.spec.faults, plan.faults, strict=True)),
        "guards": ask_guards(plan, requested_by=principal.reference),
        "budgets": predicted_budgets(plan),
    }


def _name_of(documents: Any) -> str:
    data = documents[0][0] if documents else {}
    return str(data.get("metadata", {}).get("name", "")) if data.get("kind") == "Experiment" else ""
