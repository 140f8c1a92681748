"""Evidence handed in: taken or put aside with a reason, reviewed by somebody else, superseded, never overwritten."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may, ensure_other_person
from compliance.domain.uploads import Judged, judge_file
from compliance.models import Control, Engagement, Evidence
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import refuse
from core.uploads import scanner_objects
from ledger.data.evidence import EvidenceAccepted, EvidenceRefused, EvidenceSubmitted
from ledger.services import record, store_artifact

CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Submission:
    """What somebody hands in. Without `content` it is an attestation: the statement is the evidence."""

    title: str
    period_start: datetime
    period_end: datetime
    statement: str = ""
    observed_at: datetime | None = None
    collected_at: datetime | None = None
    expires_at: datetime | None = None
    source: str = ""
    collector: str = ""
    query: str = ""
    evidence_type: str = ""
    sensitivity: str = Evidence.Sensitivity.INTERNAL
    external_id: str = ""
    content: bytes | None = None
    file_name: str = ""
    pushed: bool = False


def submit_evidence(
    *, principal: Principal, control: Control, submission: Submission, supersedes: Evidence | None = None
) -> Evidence:
    """Take evidence for review, or put it aside with the reason in `reason` (state quarantined); both are recorded.

    Raises InputRefusedError for a submission that cannot even be put aside (no title, an external id that is taken).
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    # Before the transaction: a scanner may take long.
    objection = scanner_objects(submission.content or b"")
    return _submit(principal, control, submission, supersedes=supersedes, objection=objection)


@transaction.atomic
def _submit(
    principal: Principal, control: Control, submission: Submission, *, supersedes: Evidence | None, objection: str
) -> Evidence:
    now = database_now()
    if not submission.title.strip():
        raise refuse("title", found="nothing", allowed="a title is required")
    if submission.external_id and Evidence.objects.filter(external_id=submission.external_id).exists():
        raise refuse("external_id", found=submission.external_id, allowed="an id that no other evidence has is allowed")
    if supersedes is not None and (supersedes.control_id != control.pk or hasattr(supersedes, "superseded_by")):
        raise refuse(
            "supersedes",
            found=supersedes.reference,
            allowed="evidence of the same control that nothing supersedes yet is allowed",
        )
    judged = Judged("") if submission.content is None else judge_file(submission.content, name=submission.file_name)
    problem = _problem(control, submission, now=now) or judged.problem or objection
    evidence = _create(principal, control, submission, judged, problem, supersedes=supersedes, now=now)
    if problem:
        _record_refusal(principal, evidence, by_rule=True)
        return evidence
    record(
        EvidenceSubmitted(
            evidence=evidence.reference,
            control=control.slug,
            kind=evidence.kind,
            title=evidence.title,
            stands_for=evidence.evidence_type,
            period_start=evidence.period_start,
            period_end=evidence.period_end,
            observed_at=evidence.observed_at,
            collected_at=evidence.collected_at,
            received_at=evidence.received_at,
            source=evidence.source,
            collector=evidence.collector,
            query=evidence.query[:2000],
            sensitivity=evidence.sensitivity,
            sha256=evidence.sha256,
            supersedes=supersedes.reference if supersedes else "",
            external_id=submission.external_id,
        ),
        actor=principal.reference,
        subject=f"control:{control.slug}",
        occurred_at=evidence.observed_at,
        period=(evidence.period_start, evidence.period_end),
        artifacts=(evidence.sha256,) if evidence.sha256 else (),
    )
    return evidence


def _problem(control: Control, submission: Submission, *, now: datetime) -> str:
    """Say why evidence cannot be right; nothing when it may be."""
    if submission.period_end < submission.period_start:
        return "the period ends before it starts"
    latest = max(one for one in (submission.period_end, submission.observed_at, submission.collected_at) if one)
    if latest > now + CLOCK_SKEW:
        return f"it speaks of {latest:%Y-%m-%d %H:%M} UTC, which is still to come"
    if submission.content is None and not submission.statement.strip():
        return "it holds neither a file nor a statement"
    closed = (
        Engagement.objects.filter(
            closed_at__isnull=False,
            frameworks__requirements__links__control=control,
            window_start__lte=submission.period_start,
            window_end__gte=submission.period_end,
        )
        .values_list("name", flat=True)
        .first()
    )
    return f"its period lies in the window of {closed}, which is closed" if closed else ""


def _create(
    principal: Principal,
    control: Control,
    submission: Submission,
    judged: Judged,
    problem: str,
    *,
    supersedes: Evidence | None,
    now: datetime,
) -> Evidence:
    kind = Evidence.Kind.ATTESTATION if submission.content is None else Evidence.Kind.UPLOAD
    digest = ""
    if submission.content is not None and not problem:
        digest = store_artifact(submission.content, media_type=judged.media_type, name=submission.file_name)
    return Evidence.objects.create(
        reference=new_id("ev"),
        control=control,
        kind=Evidence.Kind.PUSHED if submission.pushed else kind,
        state=Evidence.State.QUARANTINED if problem else Evidence.State.SUBMITTED,
        title=submission.title.strip()[:160],
        statement=submission.statement,
        evidence_type=submission.evidence_type,
        period_start=submission.period_start,
        period_end=submission.period_end,
        observed_at=submission.observed_at or submission.period_end,
        collected_at=submission.collected_at or now,
        received_at=now,
        expires_at=submission.expires_at,
        source=submission.source[:160],
        collector=(submission.collector or principal.label)[:160],
        query=submission.query,
        sensitivity=submission.sensitivity,
        external_id=submission.external_id[:160] or None,
        sha256=digest,
        file_name=submission.file_name[:160],
        media_type=judged.media_type,
        supersedes=None if problem else supersedes,
        submitted_by=principal.reference,
        submitted_by_label=principal.label[:160],
        reason=problem[:500],
    )


def _may_review(principal: Principal, evidence: Evidence) -> None:
    if not principal.may(Capability.APPROVE):
        ensure_may(principal, Capability.COMPLIANCE_EDIT)
    ensure_other_person(principal, requester=evidence.submitted_by)


@transaction.atomic
def accept_evidence(*, principal: Principal, evidence: Evidence) -> None:
    """Accept evidence that somebody else handed in; from then on it counts, and supersedes what it corrects.

    Raises PermissionDenied for one's own, InputRefusedError for what is not waiting.
    """
    _may_review(principal, evidence)
    _settle(principal, evidence, state=Evidence.State.ACCEPTED, reason="")
    if evidence.supersedes is not None:
        Evidence.objects.filter(pk=evidence.supersedes.pk).update(state=Evidence.State.SUPERSEDED)
    record(
        EvidenceAccepted(
            evidence=evidence.reference,
            control=evidence.control.slug,
            kind=evidence.kind,
            title=evidence.title,
            submitted_by=evidence.submitted_by,
            period_start=evidence.period_start,
            period_end=evidence.period_end,
            observed_at=evidence.observed_at,
            expires_at=evidence.expires_at,
            sha256=evidence.sha256,
            supersedes=evidence.supersedes.reference if evidence.supersedes else "",
        ),
        actor=principal.reference,
        subject=f"control:{evidence.control.slug}",
        # Freshness counts from what the evidence speaks of, not from when somebody looked at it.
        occurred_at=evidence.period_end,
        period=(evidence.period_start, evidence.period_end),
        artifacts=(evidence.sha256,) if evidence.sha256 else (),
    )


@transaction.atomic
def reject_evidence(*, principal: Principal, evidence: Evidence, reason: str) -> None:
    """Turn evidence down with a reason that the sender sees."""
    _may_review(principal, evidence)
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason that helps the sender is required")
    _settle(principal, evidence, state=Evidence.State.REJECTED, reason=reason[:500])
    evidence.reason = reason[:500]
    _record_refusal(principal, evidence, by_rule=False)


def _settle(principal: Principal, evidence: Evidence, *, state: str, reason: str) -> None:
    waiting = Evidence.objects.filter(pk=evidence.pk, state=Evidence.State.SUBMITTED)
    changed = waiting.update(state=state, reason=reason, reviewed_by=principal.reference, reviewed_at=database_now())
    if not changed:
        raise refuse("evidence", found=evidence.state, allowed="evidence that waits for review is allowed")


def _record_refusal(principal: Principal, evidence: Evidence, *, by_rule: bool) -> None:
    record(
        EvidenceRefused(
            evidence=evidence.reference,
            control=evidence.control.slug,
            title=evidence.title,
            reason=evidence.reason,
            by_rule=by_rule,
        ),
        actor=principal.reference,
        subject=f"control:{evidence.control.slug}",
    )
