"""Delete old rows a batch at a time: no long transaction, no lock that others wait for, an end when it takes long."""

import time
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

BATCH = 5_000
SECONDS = 60.0


def delete_in_batches(old: "QuerySet[Any]", *, batch: int = BATCH, seconds: float = SECONDS) -> int:
    """Delete the rows of a query, each batch in its own transaction, for about so long; returns how many.

    What is left then is deleted at the next turn. Rows that refer to them go as their models say.
    """
    until, deleted = time.monotonic() + seconds, 0
    rows = old.model._base_manager  # noqa: SLF001 Django's documented name
    while keys := list(old.order_by("pk").values_list("pk", flat=True)[:batch]):
        with transaction.atomic():
            deleted += rows.filter(pk__in=keys).delete()[1].get(old.model._meta.label, 0)  # noqa: SLF001
        if len(keys) < batch or time.monotonic() > until:
            break
    return deleted
