"""What the room keeps. Entries, seals and checkpoints are kept for ever; payloads, and files of entries, may go."""

from datetime import datetime

from django.db.models import QuerySet

from core.lifecycle import EVIDENCE_FLOOR, DataClass, Person, PersonalData, register_class, register_personal
from ledger.models import Artifact, LedgerEntry
from ledger.services import (
    PAYLOADS,
    drop_payloads,
    old_payloads,
    remove_artifacts,
    remove_payloads,
    spare_payloads,
)


def _old(before: datetime) -> QuerySet[Artifact]:
    return Artifact.objects.filter(stored_at__lt=before)


def _acts(person: Person) -> QuerySet[LedgerEntry]:
    return LedgerEntry.objects.select_related("seal").filter(actor=person.reference)


register_class(
    DataClass(
        key="ledger.artifacts",
        name="Evidence files",
        says="Files that ledger entries refer to by their hash: journals, reports, scans. The entries stay.",
        default=None,
        floor=EVIDENCE_FLOOR,
        old=_old,
        at="stored_at",
        remove=remove_artifacts,
        evidence=True,
    )
)
register_class(
    DataClass(
        key="ledger.payloads",
        name="Payloads of the ledger",
        says="What entries say. The entries, their hashes and places stay, and the ledger verifies; what they said is "
        "gone for audits too. On PostgreSQL a whole month goes at once when all of it is old enough, but for what is "
        "held.",
        default=None,
        floor=EVIDENCE_FLOOR,
        old=old_payloads,
        at="entry__recorded_at",
        spare=spare_payloads,
        tells=frozenset({"services", "incidents", "engagements", "people", "windows"}),
        remove=remove_payloads,
        evidence=True,
        held_with=("ledger.entries",),
        drop=drop_payloads,
        instead=True,
        table=PAYLOADS,
    )
)
register_personal(
    PersonalData(
        key="ledger.acts",
        name="Ledger entries of what they did",
        rows=_acts,
        shown=("seq", "entry_type", "subject", "recorded_at"),
        kept_because="An entry names who acted by number and is part of the log; what others said of the person in "
        "payloads is erased.",
    )
)
