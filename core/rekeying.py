"""Store every encrypted field under the key in use, a batch at a time.

What is stored under it already is passed over, so that a run that was stopped goes on where it was. A row that changes
meanwhile keeps its newer value.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Cast

from core.counting import counts_of
from core.fields import EncryptedTextField, SecretUnreadableError, box_of

BATCH = 200


@dataclass
class FieldKeys:
    """Under which keys a field's values are stored."""

    name: str
    current: int = 0
    older: int = 0
    unreadable: int = 0
    rewritten: int = 0


def encrypted_fields() -> list[tuple[type[models.Model], EncryptedTextField]]:
    """Return every encrypted field of every table."""
    return [
        (model, field)
        for model in apps.get_models()
        for field in model._meta.concrete_fields  # noqa: SLF001 Django's documented name
        if isinstance(field, EncryptedTextField)
    ]


_sealed: list[Callable[[bool], FieldKeys]] = []


def register_sealed(walk: Callable[[bool], FieldKeys]) -> Callable[[bool], FieldKeys]:
    """Let `walk(rewrite)` tell of, and renew, secrets that are sealed in something else than a field of their own."""
    _sealed.append(walk)
    return walk


def survey_keys() -> list[FieldKeys]:
    """Count under which keys values are stored; nothing is changed. Most sites fill few fields: those are looked at."""
    asked = dict(enumerate(encrypted_fields()))
    filled = counts_of({place: _stored(model, field) for place, (model, field) in asked.items()}, up_to=1)
    fields = [
        _work_through(model, field, rewrite=False) if filled[place] else _none_of(model, field)
        for place, (model, field) in asked.items()
    ]
    return fields + [walk(False) for walk in _sealed]  # noqa: FBT003 whether to rewrite


def store_under_current_key(*, progress: Callable[[str, int], None] = lambda *_: None) -> list[FieldKeys]:
    """Store what is under an accepted older key under the one in use; returns what was found and done."""
    fields = [_work_through(model, field, rewrite=True, progress=progress) for model, field in encrypted_fields()]
    return fields + [walk(True) for walk in _sealed]  # noqa: FBT003 whether to rewrite


def _work_through(
    model: type[models.Model],
    field: EncryptedTextField,
    *,
    rewrite: bool,
    progress: Callable[[str, int], None] = lambda *_: None,
) -> FieldKeys:
    found = _none_of(model, field)
    box = box_of(settings.SECRET_KEY)
    seen = 0
    for batch in _batches(model, field):
        with transaction.atomic():
            for key, raw in batch:
                try:
                    box.decrypt(raw.encode("ascii"))
                    found.current += 1
                except InvalidToken:
                    _take_older(found, model, field, key, raw, rewrite=rewrite)
        seen += len(batch)
        progress(found.name, seen)
    return found


def _none_of(model: type[models.Model], field: EncryptedTextField) -> FieldKeys:
    return FieldKeys(f"{model._meta.label}.{field.name}")  # noqa: SLF001 Django's documented name


def _take_older(
    found: FieldKeys, model: type[models.Model], field: EncryptedTextField, key: Any, raw: str, *, rewrite: bool
) -> None:
    try:
        value = field.from_db_value(raw)
    except SecretUnreadableError:
        found.unreadable += 1
        return
    found.older += 1
    if rewrite:
        rows = model._base_manager.annotate(stored=Cast(field.name, models.TextField()))  # noqa: SLF001
        found.rewritten += rows.filter(pk=key, stored=raw).update(**{field.name: value})


def _batches(model: type[models.Model], field: EncryptedTextField) -> Iterator[list[tuple[Any, str]]]:
    """Return primary keys and what is stored, as it is stored, in order of the key."""
    rows = _stored(model, field).order_by("pk")
    last: Any = None
    while batch := list((rows if last is None else rows.filter(pk__gt=last)).values_list("pk", "stored")[:BATCH]):
        yield batch
        last = batch[-1][0]


def _stored(model: type[models.Model], field: EncryptedTextField) -> models.QuerySet[Any]:
    rows = model._base_manager.annotate(stored=Cast(field.name, models.TextField()))  # noqa: SLF001
    return rows.exclude(stored__isnull=True).exclude(stored="")
