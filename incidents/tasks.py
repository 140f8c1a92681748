"""The room's queues and recurring jobs."""

from datetime import timedelta

from accounts.data import system_principal
from core.periodic import periodic
from core.work import WorkQueue, register_queue
from incidents.models import EscalationRun, InboundEvent
from incidents.services import process_event, record_daily_coverage, resolve_quiet_incidents, take_step
from incidents.services.escalation import ESCALATION_QUEUE
from incidents.services.receiving import INBOUND_QUEUE

register_queue(WorkQueue(name=INBOUND_QUEUE, model=InboundEvent, handle=process_event, transactional=True))
register_queue(WorkQueue(name=ESCALATION_QUEUE, model=EscalationRun, handle=take_step, transactional=True))


@periodic("incidents.resolve_quiet", every=timedelta(seconds=5))
def resolve_quiet() -> None:
    """Resolve incidents whose alerts have stayed resolved for their quiet period."""
    resolve_quiet_incidents(principal=system_principal("quiet-period"))


@periodic("incidents.record_coverage", every=timedelta(hours=1))
def record_coverage() -> None:
    """Write yesterday's on-call coverage to the ledger, once."""
    record_daily_coverage()
