"""The audit room: freeze populations, draw and test samples, ask for evidence, raise and answer findings."""

import secrets
from collections.abc import Sequence
from datetime import date, datetime

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max, QuerySet
from pydantic import ValidationError

from accounts.data import Capability, Principal
from accounts.services import ensure_may, ensure_other_person
from catalog.services import open_action_item
from compliance.domain.periods import Cadence
from compliance.domain.rules import Condition, Rule
from compliance.domain.sampling import draw, items_digest
from compliance.models import (
    AuditFinding,
    AuditRequest,
    Check,
    Control,
    Engagement,
    Evidence,
    Population,
    RequestMessage,
    Sample,
    SampleItem,
)
from compliance.selectors import access_of
from compliance.services.checking import fact_of
from compliance.services.content import unknown_names
from core.clock import database_now
from core.parsing import InputRefusedError, refuse
from ledger.data.audits import FindingChanged, RequestChanged, SampleDrawn
from ledger.data.controls import PopulationSnapshot
from ledger.selectors import entries
from ledger.services import record

MAX_ITEMS = 100_000
State = AuditRequest.State
# What the auditor may do to a request, and what the organization may.
AUDITOR_MOVES = {
    State.OPEN: {State.WITHDRAWN},
    State.SUBMITTED: {State.FLAGGED, State.ACCEPTED, State.WITHDRAWN},
    State.FLAGGED: {State.WITHDRAWN},
    State.ACCEPTED: {State.FLAGGED},
    State.WITHDRAWN: set(),
}
ORGANIZATION_MOVES = {State.OPEN: {State.SUBMITTED}, State.FLAGGED: {State.SUBMITTED}}


def is_auditor_of(principal: Principal, engagement: Engagement) -> bool:
    """Say whether the principal reads this audit by a grant."""
    return engagement.pk in access_of(principal).engagement_ids


def _ensure_in_room(principal: Principal, engagement: Engagement) -> None:
    if engagement.closed_at is not None:
        raise PermissionDenied("The audit is closed.")
    if not is_auditor_of(principal, engagement):
        ensure_may(principal, Capability.COMPLIANCE_EDIT)


def kinds_in_scope(engagement: Engagement) -> list[str]:
    """Return the kinds of entry that the checks of an audit's controls look at: what its populations are made of."""
    checks = Check.objects.filter(
        retired_at__isnull=True, control__links__requirement__framework__in=engagement.frameworks.all()
    ).distinct()
    return sorted({name for rule in checks.values_list("rule", flat=True) for name in rule["entries"]})


@transaction.atomic
def freeze_population(
    *,
    principal: Principal,
    engagement: Engagement,
    slug: str,
    title: str,
    entry_types: Sequence[str],
    where: Sequence[Condition] = (),
    until: datetime | None = None,
) -> Population:
    """Freeze all entries of these kinds in the window so far. The same slug again returns what was frozen then."""
    _ensure_in_room(principal, engagement)
    known = Population.objects.filter(engagement=engagement, slug=slug).first()
    if known is not None:
        return known
    now = database_now()
    end = min(engagement.window_end, until or now, now)
    try:
        rule = Rule(entries=list(entry_types), where=list(where), cadence=Cadence.EVENT)
    except ValidationError:
        raise refuse("entry_types", found="none", allowed="at least one kind of entry is allowed") from None
    if problems := list(unknown_names(rule, where="population")):
        raise InputRefusedError(problems)
    if strange := sorted(set(entry_types) - set(kinds := kinds_in_scope(engagement))):
        raise refuse("entry_types", found=strange[0], allowed=f"kinds in the scope are allowed: {', '.join(kinds)}")
    rows = entries(types=entry_types, since=engagement.window_start, until=end).filter(seal__isnull=False)
    items = [
        int(entry.seal.seq)
        for entry in rows.order_by("seal__seq").iterator(chunk_size=2_000)
        if not where or ((fact := fact_of(entry)) is not None and rule.selects(fact))
    ]
    if len(items) > MAX_ITEMS:
        raise refuse("entry_types", found=f"{len(items)} entries", allowed=f"at most {MAX_ITEMS} are allowed")
    population = Population.objects.create(
        engagement=engagement,
        slug=slug,
        title=title[:160],
        query=rule.model_dump(mode="json", include={"entries", "where"}, exclude_none=True),
        window_start=engagement.window_start,
        window_end=end,
        items=items,
        count=len(items),
        digest=items_digest(items),
        frozen_at=now,
        frozen_by=principal.reference,
    )
    record(
        PopulationSnapshot(
            population=f"{engagement.slug}/{slug}",
            query=f"{', '.join(entry_types)}; {'; '.join(one.words() for one in where)}"[:500],
            taken_at=now,
            count=len(items),
            items_sha256=population.digest,
        ),
        actor=principal.reference,
        subject=f"engagement:{engagement.slug}",
        period=(population.window_start, end),
    )
    return population


@transaction.atomic
def draw_sample(*, principal: Principal, population: Population, size: int, seed: str = "") -> Sample:
    """Draw a sample by a seed that the auditor may type. Raises InputRefusedError for an impossible size."""
    engagement = population.engagement
    _ensure_in_room(principal, engagement)
    if not 0 < size <= population.count:
        raise refuse("size", found=str(size), allowed=f"1 to {population.count} are allowed")
    chosen_seed = seed.strip()[:120] or secrets.token_hex(16)
    items = draw(population.items, seed=chosen_seed, size=size)
    sample = Sample.objects.create(
        population=population,
        seed=chosen_seed,
        size=size,
        drawn_at=database_now(),
        drawn_by=principal.reference,
    )
    SampleItem.objects.bulk_create(
        [SampleItem(sample=sample, position=position, seq=seq) for position, seq in enumerate(items, start=1)]
    )
    record(
        SampleDrawn(
            engagement=engagement.slug,
            population=population.slug,
            population_sha256=population.digest,
            population_count=population.count,
            seed=chosen_seed,
            items=items,
        ),
        actor=principal.reference,
        subject=f"engagement:{engagement.slug}",
    )
    return sample


@transaction.atomic
def judge_item(*, principal: Principal, item: SampleItem, result: str, note: str = "") -> None:
    """Write what the test of a drawn item found; the auditor's own sheet. A deviation needs a note."""
    engagement = item.sample.population.engagement
    if not is_auditor_of(principal, engagement):
        raise PermissionDenied("Only the auditors of this audit write its testing sheet.")
    _ensure_in_room(principal, engagement)
    if result not in SampleItem.Result.values:
        raise refuse("result", found=result, allowed=f"{', '.join(SampleItem.Result.values)} are allowed")
    if result == SampleItem.Result.DEVIATION and not note.strip():
        raise refuse("note", found="nothing", allowed="a deviation needs a note")
    item.result, item.note = result, note.strip()[:500]
    item.tested_by, item.tested_at = principal.reference, database_now()
    item.save(update_fields=["result", "note", "tested_by", "tested_at"])


def _next_number(rows: QuerySet[AuditRequest] | QuerySet[AuditFinding]) -> int:
    return int(rows.aggregate(most=Max("number"))["most"] or 0) + 1


@transaction.atomic
def ask_for(
    *,
    principal: Principal,
    engagement: Engagement,
    title: str,
    text: str = "",
    control: Control | None = None,
    due_on: date | None = None,
) -> AuditRequest:
    """Ask for evidence; the organization sees it on its list."""
    _ensure_in_room(principal, engagement)
    Engagement.objects.select_for_update().get(pk=engagement.pk)
    now = database_now()
    request = AuditRequest.objects.create(
        engagement=engagement,
        number=_next_number(engagement.requests.all()),
        title=title.strip()[:200],
        text=text,
        control=control,
        due_on=due_on,
        asked_by=principal.reference,
        asked_by_label=principal.label[:160],
        asked_at=now,
        changed_at=now,
    )
    _record_request(principal, request, reason=text)
    return request


@transaction.atomic
def move_request(
    *, principal: Principal, request: AuditRequest, state: str = "", text: str = "", evidence: Evidence | None = None
) -> RequestMessage:
    """Say something in a request's thread, hand over evidence, or change its state. Raises InputRefusedError.

    The auditor accepts, flags with a reason, or withdraws; the organization submits.
    """
    engagement = request.engagement
    _ensure_in_room(principal, engagement)
    moves = AUDITOR_MOVES if is_auditor_of(principal, engagement) else ORGANIZATION_MOVES
    if state and state not in moves.get(State(request.state), set()):
        raise refuse(
            "state", found=f"{request.state} to {state}", allowed=f"from {request.state} this is not your move"
        )
    if state == State.FLAGGED and not text.strip():
        raise refuse("text", found="nothing", allowed="a flag needs a reason that helps")
    if not state and not text.strip() and evidence is None:
        raise refuse("text", found="nothing", allowed="a message, evidence or a change of state is allowed")
    now = database_now()
    if state:
        changed = AuditRequest.objects.filter(pk=request.pk, state=request.state).update(state=state, changed_at=now)
        if not changed:
            raise refuse("state", found="a change by somebody else meanwhile", allowed="look again, then try again")
        request.state = state
        _record_request(principal, request, reason=text, evidence=evidence)
    return RequestMessage.objects.create(
        request=request,
        author=principal.reference,
        author_label=principal.label[:160],
        at=now,
        text=text,
        state=state,
        evidence=evidence,
    )


def _record_request(
    principal: Principal, request: AuditRequest, *, reason: str, evidence: Evidence | None = None
) -> None:
    record(
        RequestChanged(
            engagement=request.engagement.slug,
            request=f"R-{request.number}",
            title=request.title,
            state=request.state,
            reason=reason[:1000],
            evidence=evidence.reference if evidence else "",
        ),
        actor=principal.reference,
        subject=f"engagement:{request.engagement.slug}",
    )


@transaction.atomic
def raise_finding(
    *,
    principal: Principal,
    engagement: Engagement,
    title: str,
    severity: str,
    text: str = "",
    control: Control | None = None,
) -> AuditFinding:
    """Put a shortcoming on record. It becomes a follow-up of the organization."""
    _ensure_in_room(principal, engagement)
    if severity not in AuditFinding.Severity.values:
        raise refuse("severity", found=severity, allowed=f"{', '.join(AuditFinding.Severity.values)} are allowed")
    Engagement.objects.select_for_update().get(pk=engagement.pk)
    finding = AuditFinding.objects.create(
        engagement=engagement,
        number=_next_number(engagement.findings.all()),
        control=control,
        severity=severity,
        title=title.strip()[:200],
        text=text,
        raised_by=principal.reference,
        raised_at=database_now(),
    )
    open_action_item(
        source_key=f"finding:{engagement.slug}:{finding.number}",
        title=f"Answer finding F-{finding.number}: {finding.title}"[:200],
        owner=control.owner if control else "",
        service_id=None,
        due_on=None,
    )
    _record_finding(principal, finding, state="open", text=text)
    return finding


@transaction.atomic
def answer_finding(*, principal: Principal, finding: AuditFinding, response: str, due_on: date | None) -> None:
    """Write the management's answer."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not response.strip():
        raise refuse("response", found="nothing", allowed="an answer is required")
    finding.response, finding.due_on = response, due_on
    finding.responded_by, finding.responded_at = principal.reference, database_now()
    finding.save(update_fields=["response", "due_on", "responded_by", "responded_at"])
    _record_finding(principal, finding, state="answered", text=response)


@transaction.atomic
def close_finding(*, principal: Principal, finding: AuditFinding) -> None:
    """Close a finding that was answered; the auditor does, or whoever raised it, never who answered it."""
    if not is_auditor_of(principal, finding.engagement):
        ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not finding.responded_by:
        raise PermissionDenied("Somebody other than who answered closes a finding, once it is answered.")
    ensure_other_person(principal, requester=finding.responded_by)
    rows = AuditFinding.objects.filter(pk=finding.pk, closed_at__isnull=True)
    if rows.update(closed_at=database_now(), closed_by=principal.reference):
        _record_finding(principal, finding, state="closed", text="")


def _record_finding(principal: Principal, finding: AuditFinding, *, state: str, text: str) -> None:
    record(
        FindingChanged(
            engagement=finding.engagement.slug,
            finding=f"F-{finding.number}",
            title=finding.title,
            severity=finding.severity,
            control=finding.control.slug if finding.control else "",
            state=state,
            text=text[:1000],
        ),
        actor=principal.reference,
        subject=f"engagement:{finding.engagement.slug}",
    )
