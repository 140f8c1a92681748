"""Change schedules: versions and overrides; write coverage to the ledger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import refuse
from incidents.models import Schedule, ScheduleOverride, ScheduleVersion
from incidents.selectors.oncall import coverage_of
from incidents.services.records import record_coverage, record_schedule_version
from ledger.selectors import entries

COVERAGE_WINDOW = timedelta(days=1)
LONGEST_OVERRIDE = timedelta(days=366)


def save_schedule(
    *,
    principal: Principal,
    slug: str,
    name: str,
    time_zone: str,
    team_id: int | None,
    layers: Sequence[Mapping[str, Any]],
) -> tuple[Schedule, bool]:
    """Create a schedule or add a version to it; returns it and whether anything changed.

    A version holds from now on: what was, stays. Changing the zone makes a version too, for each layer keeps its zone.
    """
    ensure_may(principal, Capability.ONCALL_EDIT, team_id=team_id)
    wanted = [{**layer, "time_zone": layer.get("time_zone") or time_zone} for layer in layers]
    with transaction.atomic():
        schedule, created = Schedule.objects.get_or_create(
            slug=slug, defaults={"name": name, "time_zone": time_zone, "team_id": team_id}
        )
        schedule = Schedule.objects.select_for_update().get(pk=schedule.pk)
        last = schedule.versions.order_by("-number").first()
        described = {"name": name, "time_zone": time_zone, "team_id": team_id}
        changed = created or any(getattr(schedule, field) != value for field, value in described.items())
        for field, value in described.items():
            setattr(schedule, field, value)
        schedule.save(update_fields=list(described))
        if last is not None and last.layers == wanted:
            return schedule, changed
        version = ScheduleVersion.objects.create(
            schedule=schedule,
            number=(last.number if last else 0) + 1,
            effective_from=database_now(),
            layers=wanted,
            created_by=principal.reference,
        )
        record_schedule_version(schedule, version, principal=principal)
    return schedule, True


def add_override(
    *, principal: Principal, schedule: Schedule, user_id: int, starts_at: datetime, ends_at: datetime, reason: str = ""
) -> ScheduleOverride:
    """Let somebody stand in. The past is closed: a start before now is moved to now.

    Raises InputRefusedError when the end is not after the start or the past, PermissionDenied.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=schedule.team_id)
    now = database_now()
    starts_at = max(starts_at, now)
    if ends_at <= starts_at or ends_at - starts_at > LONGEST_OVERRIDE:
        raise refuse("ends_at", found=ends_at.isoformat(), allowed="an end after the start, within a year, is allowed")
    return ScheduleOverride.objects.create(
        schedule=schedule,
        user_id=user_id,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=reason[:200],
        created_by=principal.reference,
    )


def end_override(*, principal: Principal, override: ScheduleOverride) -> None:
    """End an override now; one that has not begun is removed. What has been, stays."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=override.schedule.team_id)
    now = database_now()
    with transaction.atomic():
        if override.starts_at >= now:
            override.delete()
        else:
            ScheduleOverride.objects.filter(pk=override.pk, ends_at__gt=now).update(ends_at=now)


def record_daily_coverage() -> int:
    """Write yesterday's coverage (UTC day) of each schedule to the ledger, once; returns how many were."""
    today = database_now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - COVERAGE_WINDOW
    written = 0
    for schedule in Schedule.objects.all():
        first = schedule.versions.order_by("number").first()
        if first is None or first.effective_from >= today:
            continue
        subject = f"schedule:{schedule.slug}"
        with transaction.atomic():
            # The row lock keeps a second scheduler from writing the same day.
            Schedule.objects.select_for_update().get(pk=schedule.pk)
            known = entries(types=("oncall.covered",), subjects=(subject,), since=start)
            if known.filter(period_end=today).exists():
                continue
            begin = max(start, first.effective_from)
            record_coverage(schedule, coverage_of(schedule=schedule, start=begin, end=today))
            written += 1
    return written
