"""What audits hand over beside the entries: OSCAL, Statement of Applicability, control matrix, report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.data import WORDS, ControlStanding, RequirementStanding, Window
from compliance.domain.oscal import (
    AcceptedDeviation,
    Assessment,
    JudgedRequirement,
    ObservedCheck,
    assessment_plan,
    assessment_results,
    control_token,
    dangling,
    empty_arrays,
)
from compliance.models import Applicability, ControlException, Engagement, Framework, Requirement
from compliance.selectors.registers import decisions_on
from compliance.selectors.standing import requirement_standings, window_to
from core.clock import database_now
from core.parsing import refuse
from ledger.data.access import AuditedAction
from ledger.services import log_origin, record


class ExportBrokenError(RuntimeError):
    """An export would refer to something that is not in it."""


@dataclass(frozen=True)
class StatementLine:
    """A requirement in the Statement of Applicability."""

    ref: str
    label: str
    applies: str
    justification: str
    decided_by: str
    controls: Sequence[str]
    standing: str
    counted: str


STATEMENT_COLUMNS = ("ref", "title", "applies", "justification", "decided by", "controls", "standing", "passed of due")


@transaction.atomic
def decide_applicability(
    *, principal: Principal, requirement: Requirement, applies: bool, justification: str
) -> Applicability:
    """Say whether a requirement applies, and why; an exclusion without a reason is refused."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not justification.strip():
        raise refuse("justification", found="nothing", allowed="why it does or does not apply is required")
    made, _ = Applicability.objects.update_or_create(
        requirement=requirement,
        defaults={
            "applies": applies,
            "justification": justification.strip()[:500],
            "decided_by": principal.label[:120],
            "decided_at": database_now(),
        },
    )
    record(
        AuditedAction(
            action="applicability.decided",
            target=f"{requirement.framework.slug} {requirement.ref}",
            after={"applies": str(applies).lower()},
            reason=justification[:500],
        ),
        actor=principal.reference,
        subject=f"framework:{requirement.framework.slug}",
    )
    return made


def statement_of_applicability(framework: Framework, *, now: datetime) -> list[StatementLine]:
    """Return a line for each requirement. What a control serves applies unless somebody decided otherwise."""
    decided = decisions_on(framework)
    lines = []
    for one in requirement_standings(framework, window=window_to(now), now=now):
        decision = decided.get(one.requirement_id)
        if decision is not None:
            applies, why = ("yes" if decision.applies else "no"), decision.justification
        elif one.controls:
            applies, why = "yes", "Controls of the organization serve it."
        else:
            applies, why = "not decided", "No control serves it, and nobody has said that it does not apply."
        lines.append(
            StatementLine(
                one.ref,
                one.label,
                applies,
                why,
                decision.decided_by if decision else "",
                [control.slug for control in one.controls],
                one.word if one.controls else "no control",
                one.judgement.counted,
            )
        )
    return lines


def statement_rows(lines: Iterable[StatementLine]) -> list[Sequence[Any]]:
    """Return the lines as a table."""
    return [
        (one.ref, one.label, one.applies, one.justification, one.decided_by, one.controls, one.standing, one.counted)
        for one in lines
    ]


def oscal_documents(
    engagement: Engagement,
    *,
    window: Window,
    matrix: Sequence[tuple[Framework, Sequence[RequirementStanding]]],
    controls: Mapping[int, ControlStanding],
) -> dict[str, bytes]:
    """Return assessment results and the stub of a plan. Raises ExportBrokenError for a dangling reference."""
    tokens = {
        (requirement.framework_id, requirement.ref): requirement.control_id or control_token(requirement.ref)
        for requirement in Requirement.objects.filter(framework__in=[framework for framework, _ in matrix])
    }
    one = Assessment(
        origin=log_origin(),
        name=engagement.name,
        organization=str(getattr(settings, "SITE_URL", "")) or log_origin(),
        start=window.start,
        end=window.end,
        made_at=database_now(),
        frameworks={
            f"{framework.name} {framework.edition}".strip(): [
                _judged(requirement, tokens[framework.pk, requirement.ref]) for requirement in standings
            ]
            for framework, standings in matrix
        },
        checks=[_observed(control, number) for control in controls.values() for number in range(len(control.checks))],
        deviations=[
            AcceptedDeviation(str(row.pk), row.control.slug, row.reason, row.compensation, row.expires_at)
            for row in ControlException.objects.filter(
                control__in=controls, approved_at__isnull=False, expires_at__gt=window.start
            ).select_related("control")
        ],
    )
    documents = {"assessment-results.json": assessment_results(one), "assessment-plan.json": assessment_plan(one)}
    for name, document in documents.items():
        if missing := dangling(document):
            raise ExportBrokenError(f"{name} refers to {', '.join(missing)}, which it does not define")
        if empty := empty_arrays(document):
            raise ExportBrokenError(f"{name} has empty arrays, which OSCAL forbids: {', '.join(empty)}")
    return {f"oscal/{name}": orjson.dumps(document, option=orjson.OPT_INDENT_2) for name, document in documents.items()}


def _judged(one: RequirementStanding, token: str) -> JudgedRequirement:
    return JudgedRequirement(
        token,
        one.ref,
        one.label,
        one.judgement.standing.value,
        one.judgement.counted,
        one.judgement.reason,
        [control.slug for control in one.controls],
    )


def _observed(control: ControlStanding, number: int) -> ObservedCheck:
    check = control.checks[number]
    judgement = check.judgement
    return ObservedCheck(
        control.slug,
        control.title,
        str(check.check_id),
        check.title,
        judgement.standing.value,
        judgement.counted,
        judgement.reason or WORDS[judgement.standing],
        [f"../controls/{control.slug}/occurrences.csv"],
    )
