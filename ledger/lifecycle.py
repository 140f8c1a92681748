"""What the room keeps. Entries, seals and checkpoints are kept for ever; files that entries refer to may go."""

from datetime import datetime

from django.db.models import QuerySet

from core.lifecycle import EVIDENCE_FLOOR, DataClass, Person, PersonalData, register_class, register_personal
from ledger.models import Artifact, LedgerEntry
from ledger.services import remove_artifacts


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
