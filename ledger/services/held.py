"""Which payloads a legal hold keeps: those of entries about what it names, or that name it."""

import re

import orjson
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Length

from core.lifecycle import Held, subjects_of
from ledger.models import EntryContent, LedgerEntry
from ledger.selectors.audit_trail import BodyText

# Of incidents and SLOs of a held service: their names are looked for in payloads too, as far as there are so many.
MOST_NAMES = 500


def held_payloads(rows: QuerySet[EntryContent], held: Held) -> QuerySet[EntryContent]:
    """Return those of the rows that are held: by subject, actor, instant, or a name within what they say.

    A name is found within a longer one too: a hold keeps rather too much than too little.
    """
    return rows.alias(said=BodyText(F("body"))).filter(_wanted(held))


def spare_payloads(rows: QuerySet[EntryContent], held: Held) -> QuerySet[EntryContent]:
    """Return the rows without those that are held."""
    return rows.alias(said=BodyText(F("body"))).exclude(_wanted(held))


def is_held(entry: LedgerEntry, held: Held) -> bool:
    """Say whether the payload of one entry is held."""
    return bool(held) and held_payloads(EntryContent.objects.filter(pk=entry.pk), held).exists()


def _wanted(held: Held) -> Q:
    named = {
        *(f"service:{slug}" for slug in held.services),
        *(f"incident:{reference}" for reference in held.incidents),
        *(f"engagement:{slug}" for slug in held.engagements),
        *(f"user:{number}" for number in held.people),
    }
    related = set(subjects_of(held))
    wanted = Q(entry__subject__in=sorted(named | related | held.subjects))
    if held.people:
        wanted |= Q(entry__actor__in=sorted(f"user:{number}" for number in held.people))
    for name in sorted(held.services | held.incidents | held.engagements | held.names):
        wanted |= Q(entry__subject__endswith=f":{name}") | Q(said__icontains=orjson.dumps(name).decode()[1:-1])
    for start, end in held.windows:
        wanted |= Q(entry__recorded_at__gte=start, entry__recorded_at__lt=end)
        wanted |= Q(entry__occurred_at__gte=start, entry__occurred_at__lt=end)
    if names := sorted({subject.partition(":")[2] for subject in related})[:MOST_NAMES]:
        wanted |= Q(said__regex='"(' + "|".join(map(re.escape, names)) + ')"')
    return wanted


def count_payloads(held: Held | None = None) -> tuple[int, int]:
    """Return how many payloads are held, and their bytes; without `held`, of all that there are."""
    rows = EntryContent.objects.filter(erased_at__isnull=True).order_by()
    found = (rows if held is None else held_payloads(rows, held)).aggregate(rows=Count("pk"), size=Sum(Length("body")))
    return found["rows"], found["size"] or 0
