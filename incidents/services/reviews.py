"""Draft the review of a resolved incident, let people finish it, and have it approved by somebody else.

A review moves on because what its severity asks for is settled: then it can be approved, and not before.
"""

from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.events import publish
from core.formatting import written_duration, written_number
from core.parsing import refuse
from incidents.data import BREAK_GLASS, IncidentRole
from incidents.domain.measures import measures_of
from incidents.domain.review_templates import SECTIONS, TEMPLATES
from incidents.events import ReviewApproved, ReviewDrafted
from incidents.models import Incident, Review, ReviewTask
from incidents.selectors.incidents import follow_ups_of, measured
from incidents.selectors.spending import spent_by
from incidents.services.records import record_review


def draft_review(*, incident: Incident, now: datetime) -> Review:
    """Draft the review from what is known, once, with the tasks of its severity."""
    measures = measures_of(measured(incident))
    roles = list(incident.roles.select_related("user"))
    timeline = list(incident.timeline.all()[:500])
    spent = spent_by(incident=incident, now=now)
    drafted: dict[str, Any] = {
        "measures": {name: value.total_seconds() for name, value in measures.items() if value is not None},
        "participants": sorted({f"{role.user} ({role.role})" for role in roles}),
        "services": list(incident.services.values_list("slug", flat=True)),
        "alerts": [alert.title for alert in incident.alerts.all()[:50]],
        "runs": [entry.text for entry in timeline if entry.source_key.startswith("runbook:")],
        "slos": [{"slo": one.slo_slug, "bad": one.bad, "total": one.total} for one in spent],
        "timeline": [{"at": entry.at.isoformat(), "kind": entry.kind, "text": entry.text} for entry in timeline],
    }
    # Whoever reviews must see at once that a safeguard was passed over, not find it in the timeline.
    overridden = [entry.text for entry in timeline if f":{BREAK_GLASS}:" in entry.source_key][:50]
    drafted["overridden"] = overridden
    factors = [incident.caused_by] if incident.caused_by else []
    factors += [f"Went on without an approval: {text}" for text in overridden]
    template = TEMPLATES[incident.severity]
    lasted = written_duration(measures["time_to_resolve"] or timedelta(0))
    services = ", ".join(drafted["services"]) or "no service"
    events = "".join(
        f"\n{one.slo_slug}: {written_number(one.bad)} bad of {written_number(one.total)} events"
        + (f", {one.budget_ratio:.1%} of the error budget" if one.budget_ratio is not None else "")
        + "."
        for one in spent
        if one.bad
    )
    commander = next((role.user for role in roles if role.role == IncidentRole.COMMANDER), None)
    with transaction.atomic():
        review, created = Review.objects.get_or_create(
            incident=incident,
            defaults={
                "summary": f"{incident.title} ({services}), {incident.severity.upper()}, lasted {lasted}.",
                "impact": f"From {incident.impact_started_at:%Y-%m-%d %H:%M:%S} UTC for {lasted}.{events}",
                "detection": _detection(incident, measures),
                "contributing_factors": "".join(f"- {factor}\n" for factor in factors),
                "drafted": drafted,
                "drafted_at": now,
                "owner": commander,
                "due_on": template.due_on((incident.resolved_at or now).date()),
            },
        )
        if created:
            ReviewTask.objects.bulk_create(
                [ReviewTask(review=review, key=key, title=title) for key, title in template.tasks()]
            )
            publish(ReviewDrafted(incident_id=incident.pk, reference=incident.reference))
    return review


def edit_review(*, principal: Principal, review: Review, **sections: str) -> Review:
    """Change sections of a draft; the last editor is its author. Raises when it is approved already."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=review.incident.team_id)
    if unknown := set(sections) - set(SECTIONS):
        raise refuse("review", found=", ".join(sorted(unknown)), allowed=f"{', '.join(SECTIONS)} are allowed")
    now = database_now()
    with transaction.atomic():
        changed = (
            Review.objects.filter(pk=review.pk)
            .exclude(state=Review.State.APPROVED)
            .update(**sections, edited_at=now, edited_by_id=principal.user_id)
        )
        if not changed:
            raise refuse("review", found="an approved review", allowed="only a draft can be changed")
        review.refresh_from_db()
        for name in sections:
            _settle_section(review, name, principal, now)
        _move_on(review)
    return review


def settle_review_task(*, principal: Principal, review: Review, key: str, skip_because: str = "") -> ReviewTask:
    """Say that a task is done, or with a reason that it is not needed. Raises for a section without text."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=review.incident.team_id)
    with transaction.atomic():
        locked = Review.objects.select_for_update().get(pk=review.pk)
        task = ReviewTask.objects.filter(review=locked, key=key).first()
        if task is None or locked.state == Review.State.APPROVED:
            raise refuse("task", found=key, allowed="a task of a review that is not approved yet")
        section = key.partition(":")[2]
        if not skip_because and section and not getattr(locked, section).strip():
            raise refuse(
                "task", found=f"no {SECTIONS[section].lower()}", allowed="write it, or say why it is not needed"
            )
        if not skip_because and key == "follow-ups" and not follow_ups_of(incident=review.incident):
            raise refuse("task", found="no follow-up", allowed="add one, or say why none is needed")
        task.state = ReviewTask.State.SKIPPED if skip_because else ReviewTask.State.DONE
        task.reason = skip_because[:200]
        task.settled_by = principal.label[:160]
        task.settled_at = database_now()
        task.save(update_fields=["state", "reason", "settled_by", "settled_at"])
        if locked.edited_by_id is None:
            Review.objects.filter(pk=locked.pk).update(edited_by_id=principal.user_id, edited_at=task.settled_at)
        _move_on(locked)
    return task


def name_review_owner(*, principal: Principal, review: Review, user_id: int, due_on: date | None) -> None:
    """Say who brings a review to its end, and by when."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=review.incident.team_id)
    Review.objects.filter(pk=review.pk).update(owner_id=user_id, due_on=due_on or review.due_on)


def approve_review(*, principal: Principal, review: Review) -> Review:
    """Approve a review: needs the right to approve, another person than its author, and every task settled.

    Raises PermissionDenied, and InputRefusedError when nobody has written to it, its author approves, a task is open.
    """
    ensure_may(principal, Capability.APPROVE, team_id=review.incident.team_id)
    with transaction.atomic():
        rows = Review.objects.select_for_update(of=("self",)).select_related("incident", "edited_by")
        review = rows.get(pk=review.pk)
        if review.state == Review.State.APPROVED:
            return review
        author = review.edited_by
        if author is None:
            raise refuse("review", found="a draft that nobody has worked on", allowed="a person finishes it first")
        if principal.user_id is None or author.pk == principal.user_id:
            raise refuse("approve", found=principal.label, allowed="somebody other than its author approves")
        missing = [task.title for task in review.tasks.filter(state=ReviewTask.State.OPEN)]
        if missing:
            raise refuse("approve", found=f"open: {'; '.join(missing)}", allowed="a review whose tasks are settled")
        now = database_now()
        review.state = Review.State.APPROVED
        review.approved_at = now
        review.approved_by_id = principal.user_id
        review.save(update_fields=["state", "approved_at", "approved_by"])
        follow_ups = [item.title for item in follow_ups_of(incident=review.incident)]
        record_review(review, principal=principal, author=f"user:{author.pk}", follow_ups=follow_ups)
        publish(
            ReviewApproved(
                incident_id=review.incident_id,
                reference=review.incident.reference,
                approved_by=principal.label,
            )
        )
    return review


def _detection(incident: Incident, measures: dict[str, timedelta | None]) -> str:
    def said(name: str) -> str:
        value = measures.get(name)
        return "not noted" if value is None else written_duration(value)

    source = "a person" if incident.detected_by in {"", "person"} else incident.detected_by
    return (
        f"Found by {source}. Time to detect: {said('time_to_detect')}; to acknowledge: {said('time_to_acknowledge')}; "
        f"to mitigate: {said('time_to_mitigate')}."
    )


def _settle_section(review: Review, name: str, principal: Principal, now: datetime) -> None:
    tasks = ReviewTask.objects.filter(review=review, key=f"section:{name}")
    if getattr(review, name).strip():
        tasks.exclude(state=ReviewTask.State.DONE).update(
            state=ReviewTask.State.DONE, reason="", settled_by=principal.label[:160], settled_at=now
        )
    else:
        tasks.filter(state=ReviewTask.State.DONE).update(state=ReviewTask.State.OPEN, settled_by="", settled_at=None)


def _move_on(review: Review) -> None:
    is_open = ReviewTask.objects.filter(review=review, state=ReviewTask.State.OPEN).exists()
    state = Review.State.DRAFT if is_open else Review.State.IN_REVIEW
    Review.objects.filter(pk=review.pk).exclude(state=Review.State.APPROVED).update(state=state)
    review.refresh_from_db()
