"""Remove what is older than its rule says, in small transactions, and record what went."""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.lifecycle import DataClass, data_classes
from core.parsing import refuse
from core.proving import dangerous
from custody.models import RetentionRule
from custody.selectors import Holding, due_rows, holding, keep_for
from ledger.data.access import AuditedAction
from ledger.data.custody import DataRemoved
from ledger.services import record

logger = logging.getLogger(__name__)

BATCH = 500
SECONDS_EACH = 20.0
REMOVER = "system:retention"
LONGEST_DAYS = 36_500
FILES_NAMED = 1000


@dangerous("change how long data are kept")
@transaction.atomic
def set_retention(*, principal: Principal, key: str, keep_days: int | None, reason: str) -> RetentionRule:
    """Keep a class of data for so many days, or for ever (None). Raises InputRefusedError, PermissionDenied."""
    ensure_may(principal, Capability.SITE_ADMIN)
    one = next((found for found in data_classes() if found.key == key), None)
    if one is None:
        raise refuse("class", found=key, allowed=", ".join(found.key for found in data_classes()))
    longest = one.ceiling.days if one.ceiling else LONGEST_DAYS
    if one.ceiling and keep_days is None:
        raise refuse("days", found="for ever", allowed=f"{one.floor.days} to {longest}: it is about people")
    if keep_days is not None and not one.floor.days <= keep_days <= longest:
        what = "evidence is kept for thirteen months at least" if one.evidence else "outside is not allowed"
        raise refuse("days", found=keep_days, allowed=f"{one.floor.days} to {longest}: {what}")
    if not reason.strip():
        raise refuse("reason", found="none", allowed="a reason is required")
    rule, _ = RetentionRule.objects.select_for_update().get_or_create(key=key)
    before = keep_for(one, rule)
    rule.changed, rule.keep_days, rule.reason = True, keep_days, reason.strip()[:500]
    rule.changed_by, rule.changed_at = principal.reference, database_now()
    rule.save()
    record(
        AuditedAction(
            action="retention.changed",
            target=key,
            before={"keep": _days(before)},
            after={"keep": _days(keep_for(one, rule))},
            reason=rule.reason,
        ),
        actor=principal.reference,
        subject=f"data-class:{key}",
    )
    return rule


def _days(keep: timedelta | None) -> str:
    return "for ever" if keep is None else f"{keep.days} days"


@dataclass
class Removed:
    """What went of one class in one turn."""

    key: str
    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    complete: bool = True


def remove_old_data() -> list[Removed]:
    """Remove what is due of every class; one that fails does not keep the others from their turn."""
    found = []
    for one in data_classes():
        rule, _ = RetentionRule.objects.get_or_create(key=one.key)
        keep = keep_for(one, rule)
        changes: dict[str, Any] = {"looked_at": database_now(), "removed_last": 0, "error": ""}
        if keep is not None:
            try:
                removed = _remove(one, keep)
            except Exception as error:
                logger.exception("old rows of %s were not removed", one.key)
                changes["error"] = f"{type(error).__name__}: {error}"[:1000]
            else:
                found.append(removed)
                changes |= {"removed_last": removed.count, "removed_in_all": rule.removed_in_all + removed.count}
        RetentionRule.objects.filter(pk=rule.pk).update(**changes)
    return found


def _remove(one: DataClass, keep: timedelta) -> Removed:
    before = database_now() - keep
    removed = Removed(one.key)
    if one.drop is not None and _drop_months(one, before, removed) and one.instead:
        return removed
    end = time.monotonic() + SECONDS_EACH
    while time.monotonic() < end:
        with transaction.atomic():
            # Looked at anew in each transaction: a hold that was asked for meanwhile keeps the rest.
            batch = _batch(one, before, holding())
            if not batch:
                return removed
            _remove_batch(one, batch, keep, before, removed)
    removed.complete = not _batch(one, before, holding())
    return removed


def _drop_months(one: DataClass, before: datetime, removed: Removed) -> bool:
    """Drop the months that may go, one in each transaction; returns whether the class is kept by month here."""
    while True:
        with transaction.atomic():
            now_held = holding()
            if now_held.keeps_all_of(one):
                return True
            dropped = one.drop(before, now_held.held) if one.drop is not None else None
        if dropped is None:
            return False
        if not dropped.count:
            return True
        removed.count += dropped.count
        removed.oldest = min(filter(None, (removed.oldest, dropped.oldest)), default=None)
        removed.newest = max(filter(None, (removed.newest, dropped.newest)), default=None)


def _batch(one: DataClass, before: datetime, now_held: Holding) -> list[tuple[Any, ...]]:
    rows = due_rows(one, before=before, now_held=now_held).order_by("pk").distinct()
    return list(rows.values_list("pk", *([one.at] if one.at else []))[:BATCH])


def _remove_batch(
    one: DataClass, batch: list[tuple[Any, ...]], keep: timedelta, before: datetime, removed: Removed
) -> None:
    keys = [row[0] for row in batch]
    instants = [row[1] for row in batch if one.at and row[1] is not None]
    if one.remove is not None:
        one.remove(keys)
    else:
        one.old(before).model._base_manager.filter(pk__in=keys).delete()  # noqa: SLF001 Django's documented name
    removed.count += len(keys)
    removed.oldest = min([*instants, *([removed.oldest] if removed.oldest else [])], default=None)
    removed.newest = max([*instants, *([removed.newest] if removed.newest else [])], default=None)
    record(
        DataRemoved(
            data_class=one.key,
            count=len(keys),
            keep_days=keep.days,
            removed_before=before,
            oldest=min(instants, default=None),
            newest=max(instants, default=None),
            holds=list(holding().references),
            complete=len(keys) < BATCH,
            files=[str(key) for key in keys[:FILES_NAMED]] if one.key == "ledger.artifacts" else [],
        ),
        actor=REMOVER,
        subject=f"data-class:{one.key}",
    )
