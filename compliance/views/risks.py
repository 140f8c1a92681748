"""Pages of the risk register."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from accounts.services import principal_of
from compliance.domain.risks import ORDER, PRESETS, Level, Measure, Scale
from compliance.forms import AcceptRiskForm, IndicatorForm, MatrixForm, ReasonForm, RiskForm
from compliance.models import Risk, RiskIndicator
from compliance.selectors import access_of
from compliance.services.risks import (
    IndicatorSpec,
    RiskSpec,
    accept_risk,
    assess_risk,
    close_risk,
    edit_matrix,
    evaluate_indicators,
    scale_in_force,
)
from compliance.views.base import ComplianceView, FormView
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.templatetags.assay import state
from ledger.selectors import entries

TONE_OF_LEVEL = {Level.LOW: "ok", Level.MEDIUM: "plain", Level.HIGH: "risk", Level.CRITICAL: "bad"}
TONE_OF_INDICATOR = {"fine": "ok", "warning": "risk", "breached": "bad", "unknown": "unknown"}


def sees_risks(principal: Principal) -> bool:
    """Say whether somebody may open the register: not auditors, whose packs hold it."""
    return access_of(principal).everything


class RiskView(ComplianceView):
    """A page of the register."""

    def risk(self, slug: str) -> Risk:
        """Return a risk, or answer 404."""
        if not self.access.everything:
            raise Http404("The risk register is open to compliance managers and administrators.")
        found: Risk = self.find(Risk.objects.all(), slug=slug)
        return found


class RiskMatrixView(RiskView):
    """What could hurt us most?"""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not self.access.everything:
            raise Http404("The risk register is open to compliance managers and administrators.")
        scale = scale_in_force()
        risks = list(Risk.objects.filter(closed_at__isnull=True).prefetch_related("acceptances"))
        today = database_now().date()
        indicators = RiskIndicator.objects.filter(risk__closed_at__isnull=True).select_related("risk")
        context = {
            "title": "Risks",
            "intro": "What could hurt, before and after what is done about it.",
            "columns": list(scale.impacts),
            "matrices": [
                ("With what is done", "residual", _cells(scale, risks, "residual")),
                ("If nothing were done", "inherent", _cells(scale, risks, "inherent")),
            ],
            "worst": [
                (one, *_level(scale, one.residual_likelihood, one.residual_impact))
                for one in sorted(risks, key=lambda one: (-one.residual_score, one.title))[:8]
            ],
            "due": [
                (one, what, day)
                for one in risks
                for what, day in (("treatment", one.due_on), ("assessment", one.review_on))
                if day is not None and (day - today).days <= 30
            ],
            "unaccepted": [
                one
                for one in risks
                if one.treatment == Risk.Treatment.ACCEPT
                and not any(each.counts_on(today) for each in one.acceptances.all())
            ],
            "indicators": [(one, TONE_OF_INDICATOR[one.state]) for one in indicators],
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
            "today": today,
            "levels": [(level.value, TONE_OF_LEVEL[level]) for level in ORDER],
        }
        return render(request, "compliance/risk_matrix.html", context)


def _level(scale: Scale, likelihood: int, impact: int) -> tuple[str, str]:
    level = scale.level(likelihood, impact)
    return level.value, TONE_OF_LEVEL[level]


def _cells(scale: Scale, risks: Sequence[Risk], kind: str) -> list[dict[str, Any]]:
    rows = []
    for likelihood in range(len(scale.likelihoods), 0, -1):
        cells = []
        for impact in range(1, len(scale.impacts) + 1):
            inside = [
                one
                for one in risks
                if getattr(one, f"{kind}_likelihood") == likelihood and getattr(one, f"{kind}_impact") == impact
            ]
            word, tone = _level(scale, likelihood, impact)
            url = reverse("compliance:risk_list") + f"?{kind}={likelihood}x{impact}" if inside else ""
            cells.append(
                {
                    "text": f"{len(inside)} {word}" if inside else word,
                    "tone": tone,
                    "title": ", ".join(one.title for one in inside) or f"no risk; {word}",
                    "url": url,
                }
            )
        rows.append({"label": f"{likelihood} {scale.likelihoods[likelihood - 1]}", "cells": cells})
    return rows


def _cell_asked(request: HttpRequest, kind: str) -> Sequence[tuple[str, str]]:
    return [(one, one.replace("x", " by ")) for one in request.GET.getlist(kind)[:1]]


def _in_cell(kind: str, records: QuerySet[Risk], chosen: list[str]) -> QuerySet[Risk]:
    likelihood, _, impact = chosen[0].partition("x")
    if not (likelihood.isdecimal() and impact.isdecimal()):
        return records.none()
    return records.filter(**{f"{kind}_likelihood": int(likelihood), f"{kind}_impact": int(impact)})


class RiskListView(RecordListView):
    """Every risk."""

    title = "Risk register"
    noun = "risks"
    columns = (
        Column(
            "title",
            "Risk",
            lambda one: one.title,
            kind="strong",
            order_by=("title",),
            href=lambda one: one.get_absolute_url(),
        ),
        Column("category", "Category", lambda one: one.get_category_display(), order_by=("category",)),
        Column("owner", "Owner", lambda one: one.owner, order_by=("owner",)),
        Column("inherent", "Inherent", lambda one: one.inherent_score, kind="number"),
        Column("residual", "Residual", lambda one: one.residual_score, kind="number"),
        Column("treatment", "Treatment", lambda one: one.get_treatment_display(), order_by=("treatment",)),
        Column("due_on", "Treated by", lambda one: one.due_on, order_by=("due_on",)),
        Column("review_on", "Assess again by", lambda one: one.review_on, order_by=("review_on",), wide_only=True),
        Column(
            "state",
            "State",
            lambda one: "closed" if one.closed_at else "open",
            render=lambda one: state("closed", tone="plain") if one.closed_at else state("open", tone="risk"),
            order_by=("closed_at",),
        ),
    )
    filters = (
        Filter("category", "Category", Risk.Category.choices),
        Filter("treatment", "Treatment", Risk.Treatment.choices),
        Filter(
            "residual",
            "Residual cell",
            lambda request: _cell_asked(request, "residual"),
            apply=lambda rows, chosen: _in_cell("residual", rows, chosen),
        ),
        Filter(
            "inherent",
            "Inherent cell",
            lambda request: _cell_asked(request, "inherent"),
            apply=lambda rows, chosen: _in_cell("inherent", rows, chosen),
        ),
    )
    search_fields = ("title", "description", "owner")
    default_sort = "title"
    empty = Empty("No risk is in the register yet.", command=".venv/bin/python manage.py compliance load risks.yaml")

    def may_view(self, principal: Principal) -> bool:
        return sees_risks(principal)

    def get_records(self) -> QuerySet[Risk]:
        return Risk.objects.all()

    def get_actions(self) -> Sequence[Action]:
        may = principal_of(self.request).may(Capability.COMPLIANCE_EDIT)
        return (Action("Add a risk", reverse("compliance:risk_add")),) if may else ()


class RiskDetailView(RiskView):
    """One risk: what it comes to, what is done, and what warns early."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        risk, scale, principal = self.risk(slug), scale_in_force(), principal_of(request)
        now = database_now()
        indicators = [
            {
                "one": one,
                "tone": TONE_OF_INDICATOR[one.state],
                "points": [float(point.value) for point in one.points.all()],
            }
            for one in risk.indicators.prefetch_related("points")
        ]
        history = entries(types=["risk.assessed", "risk.accepted"], subjects=[f"risk:{risk.slug}"])[:20]
        context = {
            "title": risk.title,
            "risk": risk,
            "inherent": _level(scale, risk.inherent_likelihood, risk.inherent_impact),
            "residual": _level(scale, risk.residual_likelihood, risk.residual_impact),
            "scale": scale,
            "controls": risk.controls.all(),
            "services": risk.services.all(),
            "indicators": indicators,
            "acceptances": [(one, one.counts_on(now.date())) for one in risk.acceptances.select_related("risk")],
            "history": [(one, one.payload or {}) for one in history],
            "may_edit": principal.may(Capability.COMPLIANCE_EDIT),
            "may_accept": principal.may(Capability.APPROVE)
            and not is_same_person(principal, reference=risk.assessed_by),
        }
        return render(request, "compliance/risk_detail.html", context)


class RiskFormView(FormView):
    """A form about a risk that is there."""

    def risk(self) -> Risk:
        """Return the risk of the address."""
        found = Risk.objects.filter(slug=self.kwargs["slug"]).first()
        if found is None:
            raise Http404("There is no such risk.")
        return found

    def back(self) -> tuple[str, str]:
        found = self.risk()
        return found.title, found.get_absolute_url()


class RiskAddView(FormView):
    """Put a risk into the register."""

    form_class = RiskForm
    heading = "Add a risk"

    def back(self) -> tuple[str, str]:
        return "Risks", reverse("compliance:risk_matrix")

    def build(self, *given: Any, **more: Any) -> forms.Form:
        return RiskForm(*given, scale=scale_in_force(), **more)

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        slug, title, spec = form.order()
        if Risk.objects.filter(slug=slug).exists():
            form.add_error("slug", "Another risk has this short name.")
            return self._page(request, form)
        risk, _ = assess_risk(principal=principal_of(request), slug=slug, title=title, spec=spec)
        return redirect(risk)


class RiskAssessView(RiskFormView):
    """Assess a risk again."""

    form_class = RiskForm
    heading = "Assess again"

    def build(self, *given: Any, **more: Any) -> forms.Form:
        form = RiskForm(*given, scale=scale_in_force(), **more)
        del form.fields["slug"]
        return form

    def initial(self) -> dict[str, Any]:
        risk = self.risk()
        names = [name for name in RiskForm.base_fields if name not in {"slug", "controls", "services", "incidents"}]
        return {name: getattr(risk, name) for name in names} | {
            "controls": list(risk.controls.values_list("slug", flat=True)),
            "services": list(risk.services.values_list("slug", flat=True)),
            "incidents": " ".join(risk.incidents),
        }

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        risk = self.risk()
        form.cleaned_data["slug"] = risk.slug
        slug, title, spec = form.order(indicators=_specs(risk))
        assess_risk(principal=principal_of(request), slug=slug, title=title, spec=spec)
        return redirect(risk)


class IndicatorAddView(RiskFormView):
    """Add a key risk indicator."""

    form_class = IndicatorForm
    heading = "Add an indicator"
    intro = "It is read from the ledger every five minutes and warns before the risk comes true."

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        risk, given = self.risk(), form.cleaned_data
        title, measure, warn, breach = PRESETS[given["measure"]]
        spec = IndicatorSpec(
            name=given["measure"],
            title=title,
            measure=measure,
            warn_at=warn if given["warn_at"] is None else given["warn_at"],
            breach_at=breach if given["breach_at"] is None else given["breach_at"],
        )
        others = [one for one in _specs(risk) if one.name != spec.name]
        assess_risk(
            principal=principal_of(request), slug=risk.slug, title=risk.title, spec=_spec_of(risk, [*others, spec])
        )
        evaluate_indicators()
        return redirect(risk)


class RiskAcceptView(RiskFormView):
    """Accept what remains."""

    form_class = AcceptRiskForm
    heading = "Accept this risk for a while"
    intro = "The rating is frozen; if the risk grows, or the day comes, the acceptance no longer counts."
    capability = Capability.APPROVE

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        risk = self.risk()
        accept_risk(principal=principal_of(request), risk=risk, **form.cleaned_data)
        messages.success(request, "Accepted.")
        return redirect(risk)


class RiskCloseView(RiskFormView):
    """Close a risk."""

    form_class = ReasonForm
    heading = "Close this risk"
    button = "Close"

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        risk = self.risk()
        close_risk(principal=principal_of(request), risk=risk, reason=form.cleaned_data["reason"])
        return redirect(risk)


class MatrixEditView(FormView):
    """Edit the matrix."""

    form_class = MatrixForm
    heading = "Edit the matrix"
    intro = "Names of the steps, and what each combination means. Earlier matrices are kept."

    def back(self) -> tuple[str, str]:
        return "Risks", reverse("compliance:risk_matrix")

    def build(self, *given: Any, **more: Any) -> forms.Form:
        return MatrixForm(*given, scale=scale_in_force(), **more)

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        edit_matrix(principal=principal_of(request), scale=form.wanted())
        return redirect("compliance:risk_matrix")


def _specs(risk: Risk) -> list[IndicatorSpec]:
    return [
        IndicatorSpec(
            name=one.slug,
            title=one.title,
            measure=Measure.model_validate(one.measure),
            warn_at=one.warn_at,
            breach_at=one.breach_at,
        )
        for one in risk.indicators.all()
    ]


def _spec_of(risk: Risk, indicators: list[IndicatorSpec]) -> RiskSpec:
    names = set(RiskSpec.model_fields) - {"controls", "services", "indicators"}
    return RiskSpec(
        **{name: getattr(risk, name) for name in names},
        controls=list(risk.controls.values_list("slug", flat=True)),
        services=list(risk.services.values_list("slug", flat=True)),
        indicators=indicators,
    )
