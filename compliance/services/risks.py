"""The risk register: assess, accept for a while, close, and read the indicators that warn early."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from django.urls import reverse
from pydantic import BaseModel, ConfigDict, Field

from accounts.data import Capability, Principal, system_principal
from accounts.selectors import users_with
from accounts.services import ensure_may, ensure_other_person
from catalog.selectors import services_by_slugs
from compliance.data import Standing
from compliance.domain.risks import (
    IndicatorState,
    Measure,
    Scale,
    days_to_breach,
    first_scale,
    scale_problems,
    state_of,
)
from compliance.domain.rules import why_not
from compliance.models import Control, IndicatorPoint, Risk, RiskAcceptance, RiskIndicator, RiskMatrix
from compliance.selectors.standing import control_standings, window_to
from compliance.services.checking import fact_of
from core.clock import database_now
from core.parsing import InputRefusedError, Problem, refuse
from delivery.data import Channel
from delivery.services import send
from ledger.data.access import AuditedAction
from ledger.data.risks import IndicatorReading, IndicatorsEvaluated, RiskAccepted, RiskAssessed
from ledger.selectors import entries
from ledger.services import record

WATCHER = system_principal("risk-watcher")
LONGEST_ACCEPTANCE = timedelta(days=366)
BAD = {Standing.NOT_OPERATING, Standing.STALE, Standing.COLLECTOR_SILENT}


class IndicatorSpec(BaseModel):
    """An indicator as it is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str = Field(min_length=3, max_length=160)
    measure: Measure
    warn_at: Decimal
    breach_at: Decimal


class RiskSpec(BaseModel):
    """A risk as it is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    category: Risk.Category
    owner: str = Field(min_length=2, max_length=120)
    description: str = ""
    inherent_likelihood: int = Field(ge=1, le=7)
    inherent_impact: int = Field(ge=1, le=7)
    residual_likelihood: int = Field(ge=1, le=7)
    residual_impact: int = Field(ge=1, le=7)
    treatment: Risk.Treatment = Risk.Treatment.MITIGATE
    plan: str = ""
    due_on: date | None = None
    review_on: date | None = None
    controls: list[str] = []
    services: list[str] = []
    incidents: list[str] = []
    indicators: list[IndicatorSpec] = []


def scale_in_force() -> Scale:
    """Return the matrix that counts now."""
    found = RiskMatrix.objects.first()
    return Scale(found.likelihoods, found.impacts, found.levels) if found else first_scale()


@transaction.atomic
def edit_matrix(*, principal: Principal, scale: Scale) -> RiskMatrix:
    """Put another matrix in force; the earlier ones are kept. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if problems := scale_problems(scale):
        raise InputRefusedError([Problem("matrix", "such a matrix", problem) for problem in problems])
    beyond = Risk.objects.filter(closed_at__isnull=True)
    if beyond.filter(inherent_likelihood__gt=len(scale.likelihoods)).exists() or (
        beyond.filter(inherent_impact__gt=len(scale.impacts)).exists()
    ):
        raise refuse("matrix", found="a smaller matrix", allowed="one that still holds every open risk is allowed")
    latest = RiskMatrix.objects.first()
    made = RiskMatrix.objects.create(
        number=(latest.number if latest else 0) + 1,
        likelihoods=list(scale.likelihoods),
        impacts=list(scale.impacts),
        levels=[list(row) for row in scale.levels],
        changed_at=database_now(),
        changed_by=principal.reference,
    )
    record(
        AuditedAction(action="risk.matrix_changed", target=f"matrix {made.number}"),
        actor=principal.reference,
        subject="risk:matrix",
    )
    return made


@transaction.atomic
def assess_risk(*, principal: Principal, slug: str, title: str, spec: RiskSpec) -> tuple[Risk, str]:
    """Declare a risk or assess it again; return it and `created`, `changed` or `unchanged`.

    Raises InputRefusedError for a control or service that is not there, or a residual above the inherent score.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    scale = scale_in_force()
    controls = list(Control.objects.filter(slug__in=spec.controls, retired_at__isnull=True))
    services = list(services_by_slugs(spec.services))
    _ensure_sound(spec, scale, {one.slug for one in controls}, {one.slug for one in services})
    now = database_now()
    risk = Risk.objects.filter(slug=slug).first()
    outcome = "created" if risk is None else "changed"
    values = spec.model_dump(exclude={"controls", "services", "indicators"}) | {
        "title": title[:160],
        "incidents": list(spec.incidents),
        "review_on": spec.review_on or (risk.review_on if risk else (now + timedelta(days=90)).date()),
    }
    if risk is not None and _unchanged(risk, values, spec):
        return risk, "unchanged"
    values |= {"assessed_at": now, "assessed_by": principal.reference, "closed_at": None}
    risk, _ = Risk.objects.update_or_create(slug=slug, defaults=values)
    risk.controls.set(controls)
    risk.services.set(services)
    _set_indicators(risk, spec.indicators)
    record(
        RiskAssessed(
            risk=slug,
            title=risk.title,
            category=risk.category,
            owner=risk.owner,
            inherent_likelihood=risk.inherent_likelihood,
            inherent_impact=risk.inherent_impact,
            inherent_score=risk.inherent_score,
            residual_likelihood=risk.residual_likelihood,
            residual_impact=risk.residual_impact,
            residual_score=risk.residual_score,
            treatment=risk.treatment,
            plan=risk.plan,
            due_on=str(risk.due_on or ""),
            controls=[one.slug for one in controls],
            services=[one.slug for one in services],
        ),
        actor=principal.reference,
        subject=f"risk:{slug}",
    )
    return risk, outcome


def _ensure_sound(spec: RiskSpec, scale: Scale, controls: set[str], services: set[str]) -> None:
    problems = [
        Problem(name, one, f"a known {name[:-1]} is allowed")
        for name, asked, known in (("controls", spec.controls, controls), ("services", spec.services, services))
        for one in asked
        if one not in known
    ]
    for name, top in (("likelihood", len(scale.likelihoods)), ("impact", len(scale.impacts))):
        problems += [
            Problem(f"{kind}_{name}", "a step beyond the matrix", f"1 to {top} is allowed")
            for kind in ("inherent", "residual")
            if getattr(spec, f"{kind}_{name}") > top
        ]
    inherent = spec.inherent_likelihood * spec.inherent_impact
    if spec.residual_likelihood * spec.residual_impact > inherent:
        problems.append(Problem("residual_likelihood", "a residual risk above the inherent one", "at most as much"))
    if problems:
        raise InputRefusedError(problems)


def _unchanged(risk: Risk, values: dict[str, Any], spec: RiskSpec) -> bool:
    same = all(getattr(risk, name) == value for name, value in values.items()) and risk.closed_at is None
    indicators = {(one.slug, one.title, one.warn_at, one.breach_at, str(one.measure)) for one in risk.indicators.all()}
    asked = {
        (one.name, one.title, one.warn_at, one.breach_at, str(one.measure.model_dump(mode="json")))
        for one in spec.indicators
    }
    return (
        same
        and set(risk.controls.values_list("slug", flat=True)) == set(spec.controls)
        and set(risk.services.values_list("slug", flat=True)) == set(spec.services)
        and (indicators == asked)
    )


def _set_indicators(risk: Risk, wanted: Sequence[IndicatorSpec]) -> None:
    risk.indicators.exclude(slug__in=[one.name for one in wanted]).delete()
    for one in wanted:
        if one.warn_at == one.breach_at:
            raise refuse("indicators", found=one.name, allowed="a warning that comes before the breach is allowed")
        RiskIndicator.objects.update_or_create(
            risk=risk,
            slug=one.name,
            defaults={
                "title": one.title,
                "measure": one.measure.model_dump(mode="json"),
                "warn_at": one.warn_at,
                "breach_at": one.breach_at,
            },
        )


@transaction.atomic
def accept_risk(*, principal: Principal, risk: Risk, reason: str, expires_on: date) -> RiskAcceptance:
    """Accept what remains of a risk until a day: somebody with the right to approve, not who assessed it."""
    ensure_may(principal, Capability.APPROVE)
    ensure_other_person(principal, requester=risk.assessed_by)
    now = database_now()
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason is required")
    if not now.date() < expires_on <= (now + LONGEST_ACCEPTANCE).date():
        raise refuse("expires_on", found=str(expires_on), allowed="a day to come, within a year, is allowed")
    made = RiskAcceptance.objects.create(
        risk=risk,
        residual_score=risk.residual_score,
        reason=reason,
        accepted_by=principal.reference,
        accepted_by_label=principal.label[:160],
        accepted_at=now,
        expires_on=expires_on,
    )
    record(
        RiskAccepted(
            risk=risk.slug,
            residual_score=risk.residual_score,
            accepted_by=principal.reference,
            accepted_until=str(expires_on),
            reason=reason[:2000],
        ),
        actor=principal.reference,
        subject=f"risk:{risk.slug}",
    )
    return made


@transaction.atomic
def close_risk(*, principal: Principal, risk: Risk, reason: str) -> None:
    """Close a risk that is no more."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason is required")
    if Risk.objects.filter(pk=risk.pk, closed_at__isnull=True).update(closed_at=database_now()):
        record(
            AuditedAction(action="risk.closed", target=risk.slug, reason=reason[:500]),
            actor=principal.reference,
            subject=f"risk:{risk.slug}",
        )


@transaction.atomic
def evaluate_indicators(*, now: datetime | None = None) -> list[RiskIndicator]:
    """Read every indicator of open risks, note today's value, warn of what got worse, and record all readings.

    Readings are recorded when a state changed, and once a day.
    """
    moment = now or database_now()
    found = list(RiskIndicator.objects.filter(risk__closed_at__isnull=True).select_related("risk"))
    changed, first_today = [], False
    for one in found:
        before = one.state
        first_today |= one.evaluated_at is None or one.evaluated_at.date() != moment.date()
        one.value = _value(one, now=moment)
        one.state = state_of(one.value, warn_at=one.warn_at, breach_at=one.breach_at).value
        if one.value is not None:
            IndicatorPoint.objects.update_or_create(indicator=one, day=moment.date(), defaults={"value": one.value})
        points = list(one.points.values_list("day", "value"))
        one.breach_in_days = days_to_breach(points, warn_at=one.warn_at, breach_at=one.breach_at)
        one.evaluated_at = moment
        one.save(update_fields=("value", "state", "breach_in_days", "evaluated_at"))
        if one.state != before:
            changed.append(one)
    if found and (changed or first_today):
        _record_readings(found, moment)
    for one in changed:
        if one.state in {IndicatorState.WARNING, IndicatorState.BREACHED}:
            _warn(one, moment)
    return found


def _value(one: RiskIndicator, *, now: datetime) -> Decimal | None:
    measure = Measure.model_validate(one.measure)
    if measure.kind == "failing_controls":
        controls = one.risk.controls.filter(retired_at__isnull=True)
        standings = control_standings(controls, window=window_to(now), now=now).values()
        return Decimal(sum(each.judgement.standing in BAD for each in standings)) if standings else None
    since = now - timedelta(days=measure.days)
    rows = entries(types=measure.entries, since=None if measure.kind == "age_days" else since, until=now)
    facts = (fact for entry in rows.order_by("-occurred_at").iterator(chunk_size=500) if (fact := fact_of(entry)))
    chosen = (fact for fact in facts if not any(why_not(condition, fact) for condition in measure.where))
    if measure.kind == "count":
        return Decimal(sum(1 for _ in chosen))
    if measure.kind == "age_days":
        newest = next(chosen, None)
        return None if newest is None else round(Decimal((now - newest.occurred_at).total_seconds()) / 86_400, 4)
    newest_of: dict[str, Decimal] = {}
    for fact in chosen:
        try:
            newest_of.setdefault(fact.subject, Decimal(str(fact.payload.get(measure.field))))
        except InvalidOperation:
            continue
    if not newest_of:
        return None
    return round((min if measure.kind == "lowest" else max)(newest_of.values()), 4)


def _record_readings(found: Sequence[RiskIndicator], now: datetime) -> None:
    states = [one.state for one in found]
    record(
        IndicatorsEvaluated(
            evaluated_at=now,
            readings=[
                IndicatorReading(
                    indicator=one.slug,
                    risk=one.risk.slug,
                    value="" if one.value is None else str(one.value),
                    state=one.state,
                )
                for one in found
            ],
            warning=states.count(IndicatorState.WARNING),
            breached=states.count(IndicatorState.BREACHED),
            unknown=states.count(IndicatorState.UNKNOWN),
        ),
        actor=WATCHER.reference,
        subject="risk:indicators",
    )


def _warn(one: RiskIndicator, now: datetime) -> None:
    for user in users_with(Capability.COMPLIANCE_EDIT):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"risk-indicator:{one.pk}:{one.state}:{now:%Y-%m-%d}:{user.pk}",
            subject=f"{one.title}: {one.state}",
            text=f"The indicator of the risk {one.risk.title} is at {one.value} ({one.state}).",
            link=reverse("compliance:risk_detail", args=(one.risk.slug,)),
            about=f"risk:{one.risk.slug}",
        )
