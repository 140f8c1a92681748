"""Erase a person: personal data is replaced, payloads in the ledger are emptied with tombstones, and the log verifies.

What must stay is counted with its reason: evidence until it is thirteen months old, and what a legal hold keeps. The
erasure stays due until the last of it may go.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.contrib.auth import get_user_model
from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.services import deactivate_user, ensure_may
from core.clock import database_now
from core.leases import settle
from core.lifecycle import EVIDENCE_FLOOR, Person, personal_data
from core.named_definitions import defining_tables, rename_in, rows_naming
from core.named_people import names_of_person, naming_tables
from core.parsing import refuse
from core.proving import dangerous
from core.work import wake
from custody.models import Erasure
from custody.selectors import Holding, holding, person_of
from ledger.data.access import AuditedAction
from ledger.data.custody import PersonErased
from ledger.selectors import LedgerEntry, TrailQuestion, whole_trail
from ledger.services import NotErasableError, erase_payload, is_held, record

ERASE_QUEUE = "custody.erase"
ERASER = system_principal("erasure")
# What speaks of the account alone proves nothing about operations and goes at once.
ABOUT_THE_ACCOUNT = ("account.", "sign_in.", "session.", "factor.")
SHORTEST_NAME = 3
LOOK_AGAIN = timedelta(days=1)
UNSEALED = timedelta(minutes=1)


@dangerous("erase a person")
@transaction.atomic
def request_erasure(*, principal: Principal, username: str, reason: str) -> Erasure:
    """Close a person's account at once and erase their data in the background.

    Raises InputRefusedError, PermissionDenied, LastAdminError.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    user = get_user_model().objects.filter(username=username).first()
    if user is None:
        raise refuse("person", found=username, allowed="the user name of a person is allowed")
    if not reason.strip():
        raise refuse("reason", found="none", allowed="a reason is required")
    if principal.user_id == user.pk:
        raise refuse("person", found=username, allowed="somebody else erases an administrator's own account")
    if Erasure.objects.filter(user=user).exists():
        raise refuse("person", found=username, allowed="nobody whose erasure was asked for already")
    person = person_of(user)
    deactivate_user(principal=principal, user=user)
    now = database_now()
    erasure = Erasure.objects.create(
        user=user,
        names=orjson.dumps(vars(person)).decode(),
        reason=reason.strip()[:500],
        requested_by=principal.reference,
        requested_at=now,
        due_at=now,
    )
    record(
        AuditedAction(action="erasure.requested", target=person.reference, reason=erasure.reason),
        actor=principal.reference,
        subject=person.reference,
    )
    wake(ERASE_QUEUE)
    return erasure


def erase(row: Erasure) -> None:
    """Erase what may go now, record it, and come back for the rest when it may."""
    person = Person(**orjson.loads(row.names))
    now_held = holding()
    outcome = _erase_rows(person, now_held)
    erased, kept, again_at = _erase_payloads(person, now_held, row.reason)
    waits = [part for part in outcome if part.get("held")]
    now = database_now()
    if waits and again_at is None:
        again_at = now + LOOK_AGAIN
    with transaction.atomic():
        record(
            PersonErased(
                user_id=person.user_id,
                erased={part["key"]: part["erased"] for part in outcome if part["erased"]},
                kept={part["key"]: part["kept"] for part in outcome if part["kept"]},
                payloads_erased=erased,
                payloads_kept=kept,
                kept_until=again_at,
                reason=row.reason,
            ),
            actor=ERASER.reference,
            subject=person.reference,
        )
        changes: dict[str, Any] = {
            "outcome": outcome,
            "payloads_erased": row.payloads_erased + erased,
            "payloads_kept": kept,
            "account_erased_at": row.account_erased_at or now,
        }
        if again_at is None:
            settle(row, finished_at=now, names="", last_error="", **changes)
        else:
            settle(row, due_at=again_at, attempts=0, last_error="", **changes)


def _erase_rows(person: Person, now_held: Holding) -> list[dict[str, Any]]:
    outcome = []
    for one in personal_data():
        count = one.rows(person).count()
        held = one.key in now_held.classes or person.user_id in now_held.held.people
        part = {"key": one.key, "name": one.name, "erased": 0, "kept": count, "because": one.kept_because, "held": held}
        if held and one.erase is not None:
            part["because"] = "A legal hold keeps it."
        elif one.erase is not None:
            with transaction.atomic():
                part["erased"] = one.erase(person)
            part["kept"] = 0
        outcome.append(part)
    return [*outcome, _erase_names(person, now_held), _erase_inside(person, now_held)]


def _erase_names(person: Person, now_held: Holding) -> dict[str, Any]:
    """Put the number in the place of names that other tables keep as text. What is held somewhere waits."""
    part: dict[str, Any] = {
        "key": "names",
        "name": "Names in other tables",
        "erased": 0,
        "kept": 0,
        "because": "",
        "held": False,
    }
    names, tables = names_of_person(person), naming_tables()
    if now_held.held:
        kept = sum(table.with_any(set(names)).count() for table in tables)
        return {**part, "kept": kept, "because": "A legal hold keeps it." if kept else "", "held": bool(kept)}
    for table in tables:
        with transaction.atomic():
            part["erased"] += table.rename(names)
    return part


def _erase_inside(person: Person, now_held: Holding) -> dict[str, Any]:
    """Put the number in the place of names inside definitions and records. What is held somewhere waits."""
    part: dict[str, Any] = {
        "key": "definitions",
        "name": "Names inside definitions and records",
        "erased": 0,
        "kept": 0,
        "because": "",
        "held": False,
    }
    for table, keys in rows_naming(person, defining_tables()):
        if now_held.held:
            part["kept"] += len(keys)
        else:
            part["erased"] += rename_in(person, table, keys)
    if part["kept"]:
        part |= {"because": "A legal hold keeps it.", "held": True}
    return part


def _erase_payloads(person: Person, now_held: Holding, reason: str) -> tuple[int, int, datetime | None]:
    """Empty payloads that name the person; returns how many went, how many stay, and when to look again."""
    erased, kept, again_at = 0, 0, None
    now = database_now()
    for entry in _naming(person):
        ready = _ready_at(entry, now_held, now)
        if ready <= now:
            try:
                erase_payload(principal=ERASER, entry=entry, reason=f"erasure of {person.reference}: {reason}")
            except NotErasableError as error:
                if "sealed" not in str(error):
                    continue
                ready = now + UNSEALED
            else:
                erased += 1
                continue
        kept += 1
        again_at = min(again_at or ready, ready)
    return erased, kept, again_at


def _ready_at(entry: LedgerEntry, now_held: Holding, now: datetime) -> datetime:
    held = now_held.held
    if now_held.classes & {"ledger.entries", "ledger.payloads"} or is_held(entry, held):
        return now + LOOK_AGAIN
    action = str((entry.payload or {}).get("action", ""))
    if not entry.evidence_type or action.startswith(ABOUT_THE_ACCOUNT):
        return now
    return entry.recorded_at + EVIDENCE_FLOOR


def _naming(person: Person) -> Iterator[LedgerEntry]:
    """Yield entries whose payload names the person, as a word of its own, each once."""
    seen: set[int] = set()
    for name in dict.fromkeys((person.email, person.full_name, person.username)):
        if len(name) < SHORTEST_NAME:
            continue
        word = re.compile(rf"(?<![\w.@-]){re.escape(name)}(?![\w@-])", re.IGNORECASE)
        for entry in whole_trail(TrailQuestion(words=(name,))):
            if entry.pk in seen or entry.entry_type in UNERASABLE:
                continue
            if any(word.search(text) for text in _texts(entry.payload)):
                seen.add(entry.pk)
                yield entry


UNERASABLE = {"ledger.payload_erased", "ledger.key_rotated", PersonErased.entry_type}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
