"""Draft the review of a resolved incident, let people finish it, and have it approved by somebody else."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.services import open_action_item
from core.clock import database_now
from core.events import publish
from core.formatting import written_duration
from core.identifiers import new_id
from core.parsing import refuse
from incidents.data import BREAK_GLASS
from incidents.domain.measures import measures_of
from incidents.events import ReviewApproved, ReviewDrafted
from incidents.models import Incident, Review
from incidents.selectors.incidents import follow_ups_of, measured
from incidents.services.records import record_review

SECTIONS = ("summary", "impact", "contributing_factors", "lessons")


def draft_review(*, incident: Incident, now: datetime) -> Review:
    """Draft the review from what is known, once."""
    measures = measures_of(measured(incident))
    drafted: dict[str, Any] = {
        "measures": {name: value.total_seconds() for name, value in measures.items() if value is not None},
        "participants": sorted({f"{role.user} ({role.role})" for role in incident.roles.select_related("user")}),
        "services": list(incident.services.values_list("slug", flat=True)),
        "alerts": [alert.title for alert in incident.alerts.all()[:50]],
        "timeline": [
            {"at": entry.at.isoformat(), "kind": entry.kind, "text": entry.text}
            for entry in incident.timeline.all()[:500]
        ],
    }
    # Whoever reviews must see at once that a safeguard was passed over, not find it in the timeline.
    overridden = list(
        incident.timeline.filter(source_key__contains=f":{BREAK_GLASS}:").values_list("text", flat=True)[:50]
    )
    drafted["overridden"] = overridden
    factors = [incident.caused_by] if incident.caused_by else []
    factors += [f"Went on without an approval: {text}" for text in overridden]
    lasted = written_duration(measures["time_to_resolve"] or timedelta(0))
    services = ", ".join(drafted["services"]) or "no service"
    review, created = Review.objects.get_or_create(
        incident=incident,
        defaults={
            "summary": f"{incident.title} ({services}), {incident.severity.upper()}, lasted {lasted}.",
            "impact": f"From {incident.impact_started_at:%Y-%m-%d %H:%M:%S} UTC for {lasted}.",
            "contributing_factors": "".join(f"- {factor}\n" for factor in factors),
            "drafted": drafted,
            "drafted_at": now,
        },
    )
    if created:
        publish(ReviewDrafted(incident_id=incident.pk, reference=incident.reference))
    return review


def edit_review(*, principal: Principal, review: Review, **sections: str) -> Review:
    """Change sections of a draft; the last editor is its author. Raises when it is approved already."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=review.incident.team_id)
    if unknown := set(sections) - set(SECTIONS):
        raise refuse("review", found=", ".join(sorted(unknown)), allowed=f"{', '.join(SECTIONS)} are allowed")
    now = database_now()
    changed = Review.objects.filter(pk=review.pk, state=Review.State.DRAFT).update(
        **sections, edited_at=now, edited_by_id=principal.user_id
    )
    if not changed:
        raise refuse("review", found="an approved review", allowed="only a draft can be changed")
    review.refresh_from_db()
    return review


def add_follow_up(*, principal: Principal, review: Review, title: str, owner: str = "", due_in: timedelta) -> None:
    """Open a follow-up in the catalogue's list of action items; `owner` is a user name."""
    incident = review.incident
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    service = incident.services.first()
    open_action_item(
        source_key=f"review:{incident.reference}:{new_id('act')}",
        title=title,
        owner=owner,
        service_id=service.pk if service else None,
        due_on=(database_now() + due_in).date(),
        url=f"/incidents/{incident.reference}/review/",
    )


def approve_review(*, principal: Principal, review: Review) -> Review:
    """Approve a review: needs the right to approve, and another person than its author.

    Raises PermissionDenied, and InputRefusedError when nobody has written to it or the author approves.
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
