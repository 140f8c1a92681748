"""Claim rows of intent so that one worker at a time acts on each, and a stale one cannot write.

A row is *due* when it is unfinished, its `due_at` has passed and no live lease holds it. Claiming raises its
fence; every later write names the fence and fails once somebody else has claimed the row.
"""

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connection, models, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.sql import UpdateQuery

from core.clock import database_now


class StaleFenceError(RuntimeError):
    """Somebody else has claimed the row since; the caller's work must not be written."""


class LeasedModel(models.Model):
    """A row of intent: something that must be done at or after `due_at`, once."""

    due_at = models.DateTimeField(help_text="Not before this instant.")
    lease_owner = models.CharField(max_length=80, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    fence = models.PositiveBigIntegerField(default=0, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, editable=False)
    dead_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Given up at this instant; a person must look."
    )
    last_error = models.TextField(blank=True, default="", editable=False)

    class Meta:
        abstract = True


Leased = TypeVar("Leased", bound=LeasedModel)


def lease_owner_name() -> str:
    """Return a name for this process and claim that no other process shares."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


def due_q(now: datetime) -> Q:
    """Return the condition that a row is due and free at `now`."""
    return Q(finished_at__isnull=True, dead_at__isnull=True, due_at__lte=now) & (
        Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    )


def claim_due(
    queryset: QuerySet[Leased], *, lease_for: timedelta, limit: int = 1, owner: str | None = None
) -> list[Leased]:
    """Claim up to `limit` due rows, oldest first, and return them with their new fence.

    The claim is committed before this returns when called outside a transaction. `attempts` counts claims.
    """
    owner = owner or lease_owner_name()
    now = database_now()
    free = queryset.filter(due_q(now)).order_by("due_at", "pk")
    changes: dict[str, Any] = {
        "lease_owner": owner,
        "lease_until": now + lease_for,
        "fence": F("fence") + 1,
        "attempts": F("attempts") + 1,
    }
    model = queryset.model
    if connection.features.has_select_for_update_skip_locked:
        keys = _claim_in_one_statement(free.values_list("pk", flat=True)[:limit], changes)
        if not keys:
            return []
    else:
        # Looked at first without the write lock, so that asking in vain keeps nobody from writing.
        if not free.values_list("pk")[:1]:
            return []
        # SQLite's transactions begin with the write lock (transaction_mode IMMEDIATE): what is read here stays so.
        with transaction.atomic():
            keys = list(free.values_list("pk", flat=True)[:limit])
            model._base_manager.filter(due_q(now), pk__in=keys).update(**changes)  # noqa: SLF001
    return list(queryset.filter(pk__in=keys, lease_owner=owner).order_by("due_at", "pk"))


def _claim_in_one_statement(chosen: QuerySet[Any], changes: Mapping[str, Any]) -> list[Any]:
    """Choose, lock and claim rows, passing over those that others are claiming; returns their keys.

    As an array the choice is made once, whatever plan the database takes for the rest.
    """
    model = chosen.model
    sql, values = chosen.query.sql_with_params()
    table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 Django's documented name
    query = UpdateQuery(model)
    query.add_update_values(dict(changes))
    update, changed = query.get_compiler(connection=connection).as_sql()
    with connection.cursor() as cursor:
        cursor.execute(
            f"{update} WHERE {table}.id = ANY(ARRAY({sql} FOR UPDATE OF {table} SKIP LOCKED)) RETURNING {table}.id",
            (*changed, *values),
        )
        return [key for (key,) in cursor.fetchall()]


def settle(row: LeasedModel, **changes: Any) -> None:
    """Write `changes` to a claimed row and give up the lease, if the fence still holds.

    Raises StaleFenceError when another worker has claimed the row. Finished is what `finished_at` in `changes` says.
    """
    _write(row, {**changes, "lease_owner": "", "lease_until": None})


def finish(row: LeasedModel, **changes: Any) -> None:
    """Settle a claimed row as done."""
    settle(row, finished_at=database_now(), last_error="", **changes)


def finish_many(rows: Sequence[tuple[LeasedModel, Mapping[str, Any]]]) -> None:
    """Settle claimed rows of one model as done, each with changes of the same fields, in one statement for all.

    Raises StaleFenceError when another worker has claimed any of them; the caller's transaction must not commit then.
    """
    done = {"finished_at": database_now(), "last_error": ""} if rows else {}
    settle_many([(row, {**changes, **done}) for row, changes in rows])


def settle_many(rows: Sequence[tuple[LeasedModel, Mapping[str, Any]]]) -> None:
    """Write changes of the same fields to claimed rows of one model, and give up their leases, as `settle` does.

    Raises StaleFenceError when another worker has claimed any of them; the caller's transaction must not commit then.
    """
    if not rows:
        return
    model = type(rows[0][0])
    free = {"lease_owner": "", "lease_until": None}
    names = [*rows[0][1], *free]
    known = {field.name: field for field in model._meta.concrete_fields}  # noqa: SLF001 Django's documented name
    fields = [known[name] for name in names]
    quote = connection.ops.quote_name
    columns = ", ".join(f"{quote(str(field.column))} = %s" for field in fields)
    given = [(row, {**changes, **free}) for row, changes in rows]
    values = [
        (
            *(field.get_db_prep_save(changes[name], connection) for field, name in zip(fields, names, strict=True)),
            row.pk,
            row.fence,
        )
        for row, changes in given
    ]
    statement = f'UPDATE {quote(model._meta.db_table)} SET {columns} WHERE "id" = %s AND "fence" = %s'  # noqa: SLF001, S608 names of the model  # nosec B608
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)
        written = cursor.rowcount
    if written != len(rows):
        raise StaleFenceError(f"{model._meta.label}: {len(rows) - written} of {len(rows)} were claimed by another")  # noqa: SLF001
    for row, changes in given:
        for name, value in changes.items():
            setattr(row, name, value)


def retry_later(row: LeasedModel, *, delay: timedelta, error: str, **changes: Any) -> None:
    """Settle a claimed row so that it falls due again after `delay`."""
    settle(row, due_at=database_now() + delay, last_error=error[:4000], **changes)


def give_up(row: LeasedModel, *, error: str, **changes: Any) -> None:
    """Settle a claimed row as dead: it is kept, never retried by itself, and shown to a person."""
    settle(row, dead_at=database_now(), last_error=error[:4000], **changes)


def extend(row: LeasedModel, *, lease_for: timedelta) -> None:
    """Keep a claim alive. Raises StaleFenceError when it is lost."""
    _write(row, {"lease_until": database_now() + lease_for})


def revive(queryset: QuerySet[Leased], *, keys: Sequence[Any]) -> int:
    """Make dead rows due again at once; returns how many."""
    return queryset.filter(pk__in=keys, dead_at__isnull=False).update(
        dead_at=None, due_at=database_now(), attempts=0, lease_until=None, lease_owner=""
    )


def _write(row: LeasedModel, changes: dict[str, Any]) -> None:
    model = type(row)
    if not model._base_manager.filter(pk=row.pk, fence=row.fence).update(**changes):  # noqa: SLF001
        raise StaleFenceError(f"{model._meta.label} {row.pk}: fence {row.fence} is no longer current")  # noqa: SLF001
    for name, value in changes.items():
        setattr(row, name, value)
