"""Intervals, follow-ups and deployments."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.data import ActionItemState, ActivityKind, ActivityStart
from catalog.models import ActionItem, Activity, Deployment, Service
from core.clock import database_now
from core.parsing import refuse
from ledger.data.changes import DeploymentRecorded
from ledger.services import record


@transaction.atomic
def start_activity(
    *, kind: ActivityKind, source_key: str, title: str, url: str, service_ids: Iterable[int], started_at: datetime
) -> Activity:
    """Open an interval; the same `source_key` again returns the one there is."""
    activity, created = Activity.objects.get_or_create(
        source_key=source_key, defaults={"kind": kind, "title": title[:200], "url": url, "started_at": started_at}
    )
    if created:
        activity.services.add(*service_ids)
    return activity


@transaction.atomic
def start_activities(starts: Sequence[ActivityStart]) -> None:
    """Open several intervals, in a few statements for all; one whose `source_key` there is already stays as it is."""
    known = set(
        Activity.objects.filter(source_key__in=[one.source_key for one in starts])
        .order_by()
        .values_list("source_key", flat=True)
    )
    new = {one.source_key: one for one in reversed(starts) if one.source_key not in known}
    written = Activity.objects.bulk_create(
        [
            Activity(
                kind=one.kind, source_key=one.source_key, title=one.title[:200], url=one.url, started_at=one.started_at
            )
            for one in starts
            if new.get(one.source_key) is one
        ]
    )
    through = Activity.services.through
    through.objects.bulk_create(
        [
            through(activity_id=activity.pk, service_id=service_id)
            for activity in written
            for service_id in dict.fromkeys(new[activity.source_key].service_ids)
        ]
    )


def end_activity(*, source_key: str, ended_at: datetime) -> None:
    """Close an interval; one that is closed stays as it is."""
    Activity.objects.filter(source_key=source_key, ended_at__isnull=True).update(ended_at=ended_at)


def open_action_item(
    *,
    source_key: str,
    title: str,
    owner: str = "",
    service_id: int | None = None,
    due_on: date | None = None,
    url: str = "",
) -> ActionItem:
    """Add a follow-up; the same `source_key` again returns the one there is."""
    item, _ = ActionItem.objects.get_or_create(
        source_key=source_key,
        defaults={
            "title": title[:300],
            "owner": owner,
            "service_id": service_id,
            "due_on": due_on,
            "url": url,
            "created_at": database_now(),
        },
    )
    return item


def close_action_item(*, source_key: str, state: ActionItemState = ActionItemState.DONE) -> None:
    """Close a follow-up."""
    ActionItem.objects.filter(source_key=source_key, state=ActionItemState.OPEN).update(
        state=state, closed_at=database_now()
    )


def reopen_action_item(*, source_key: str, due_on: date | None = None) -> bool:
    """Open a follow-up that was closed, with a new date; says whether it was closed."""
    closed = ActionItem.objects.filter(source_key=source_key).exclude(state=ActionItemState.OPEN)
    return bool(closed.update(state=ActionItemState.OPEN, closed_at=None, due_on=due_on))


@transaction.atomic
def record_deployment(
    *,
    principal: Principal,
    reference: str,
    service: Service,
    author: str,
    started_at: datetime,
    finished_at: datetime | None = None,
    committed_at: datetime | None = None,
    commit: str = "",
    ticket: str = "",
    approver: str = "",
    emergency: bool = False,
    tests_passed: bool | None = None,
    result: str = "succeeded",
) -> Deployment:
    """Record a change that reached the service's environment; the same `reference` again returns the one there is.

    `committed_at` is when the oldest change in it was committed, for the lead time.
    """
    ensure_may(principal, Capability.CATALOG_EDIT, team_id=service.team_id)
    if finished_at is not None and finished_at < started_at:
        raise refuse("finished_at", found=finished_at.isoformat(), allowed="an instant after started_at is allowed")
    if committed_at is not None and committed_at > started_at:
        raise refuse("committed_at", found=committed_at.isoformat(), allowed="an instant before started_at is allowed")
    deployment, created = Deployment.objects.get_or_create(
        reference=reference,
        defaults={
            "service": service,
            "environment": service.environment,
            "commit": commit,
            "ticket": ticket,
            "author": author,
            "approver": approver,
            "emergency": emergency,
            "tests_passed": tests_passed,
            "result": result,
            "committed_at": committed_at,
            "started_at": started_at,
            "finished_at": finished_at,
        },
    )
    if not created:
        return deployment
    start_activity(
        kind=ActivityKind.DEPLOYMENT,
        source_key=f"deployment:{reference}",
        title=f"Deployment of {service} {commit[:12]}".strip(),
        url="",
        service_ids=[service.pk],
        started_at=started_at,
    )
    end_activity(source_key=f"deployment:{reference}", ended_at=finished_at or started_at)
    record(
        DeploymentRecorded(
            deployment=reference,
            service=service.slug,
            environment=service.environment.slug,
            commit=commit,
            ticket=ticket,
            author=author,
            approver=approver,
            emergency=emergency,
            tests_passed=tests_passed,
            result=result,
            committed_at=committed_at,
            started_at=started_at,
            finished_at=finished_at,
        ),
        actor=principal.reference,
        subject=f"service:{service.slug}",
        occurred_at=started_at,
    )
    return deployment
