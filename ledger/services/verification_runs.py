"""Verifications that somebody asks for on the page: they run in a worker and tell how far they are."""

from dataclasses import asdict
from datetime import timedelta

from django.db import transaction

from core.clock import database_now
from core.leases import extend, finish
from core.work import wake
from ledger.data.packs import Reader
from ledger.models import LogHead, LogVerification
from ledger.services.verifying import verify_log

LEASE = timedelta(minutes=10)


@transaction.atomic
def request_verification(*, principal: Reader) -> LogVerification:
    """Ask for a verification of the whole log; one that has not ended yet is returned instead of a second one."""
    running = LogVerification.objects.filter(finished_at__isnull=True, dead_at__isnull=True).first()
    if running is not None:
        return running
    now = database_now()
    head = LogHead.objects.filter(pk=1).first()
    run = LogVerification.objects.create(
        due_at=now, requested_by=principal.reference, requested_at=now, entries_total=head.size if head else 0
    )
    wake("ledger.verification")
    return run


def perform_verification(run: LogVerification) -> None:
    """Verify, and write the result on the claimed row."""

    def progress(done: int) -> None:
        LogVerification.objects.filter(pk=run.pk, fence=run.fence).update(entries_done=done)
        extend(run, lease_for=LEASE)

    found = verify_log(progress=progress)
    finish(run, entries_done=found.entries, entries_total=found.entries, result=asdict(found))
