"""The room's queues and recurring jobs."""

from datetime import timedelta

from django.db.models import QuerySet

from accounts.data import system_principal
from core.periodic import periodic
from core.work import WorkQueue, register_queue
from incidents.models import EscalationRun, InboundEvent
from incidents.services import (
    forget_old_beats,
    look_after_follow_ups,
    process_event,
    process_events,
    record_daily_coverage,
    release_suppressed,
    resolve_quiet_incidents,
    send_digests,
    take_step,
    take_steps,
    warn_of_gaps,
    watch_floods,
    watch_heartbeats,
    watch_targets,
)
from incidents.services.escalation import ESCALATION_QUEUE
from incidents.services.integrations import INBOUND_QUEUE, SPILL_QUEUE


def _calm() -> QuerySet[InboundEvent]:
    return InboundEvent.objects.filter(spilled=False)


def _spilled() -> QuerySet[InboundEvent]:
    return InboundEvent.objects.filter(spilled=True)


# A claim of so many, so that a storm is worked off in bulk and a transaction stays short.
TOGETHER = 50

for name, rows in ((INBOUND_QUEUE, _calm), (SPILL_QUEUE, _spilled)):
    register_queue(
        WorkQueue(
            name=name,
            model=InboundEvent,
            handle=process_event,
            handle_many=process_events,
            transactional=True,
            rows=rows,
            batch=TOGETHER,
            # Since 2, the bytes are rows of their own.
            format=2,
            # Events of an integration are judged one after the other: a second thread would only wait for its lock.
            parallel=1,
        )
    )
register_queue(
    WorkQueue(
        name=ESCALATION_QUEUE,
        model=EscalationRun,
        handle=take_step,
        handle_many=take_steps,
        transactional=True,
        parallel=2,
    )
)


@periodic("incidents.resolve_quiet", every=timedelta(seconds=5))
def resolve_quiet() -> None:
    """Resolve incidents whose alerts have stayed resolved for their quiet period."""
    resolve_quiet_incidents(principal=system_principal("quiet-period"))


@periodic("incidents.record_coverage", every=timedelta(hours=1))
def record_coverage() -> None:
    """Write yesterday's on-call coverage to the ledger, once."""
    record_daily_coverage()


@periodic("incidents.watch_heartbeats", every=timedelta(seconds=5))
def watch_senders_alive() -> None:
    """Raise an alert for each heartbeat that is late."""
    watch_heartbeats()


@periodic("incidents.watch_floods", every=timedelta(seconds=5))
def watch_senders_calm() -> None:
    """Set flooding senders apart and tell their owners."""
    watch_floods()


@periodic("incidents.forget_old_beats", every=timedelta(hours=1))
def forget_beats() -> None:
    """Delete worked-off beats of more than a week ago."""
    forget_old_beats()


@periodic("incidents.release_suppressed", every=timedelta(seconds=10))
def release_held() -> None:
    """Page for alerts that still fire although their silence is over."""
    release_suppressed()


@periodic("incidents.send_digests", every=timedelta(seconds=10))
def send_folded() -> None:
    """Tell people in a storm what was folded."""
    send_digests()


@periodic("incidents.warn_of_gaps", every=timedelta(hours=6))
def warn_of_coming_gaps() -> None:
    """Tell of gaps and absences within two weeks."""
    warn_of_gaps()


@periodic("incidents.watch_targets", every=timedelta(seconds=30))
def watch_clocks() -> None:
    """Say which clocks of incidents run out, or have."""
    watch_targets()


@periodic("incidents.look_after_follow_ups", every=timedelta(hours=6))
def remind_of_follow_ups() -> None:
    """Remind of what is due, and open again what was accepted for a time that is over."""
    look_after_follow_ups()
