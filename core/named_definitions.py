"""Names of people inside JSON: definitions that people wrote, and records that runs left.

Every JSON column of the site is looked at, but those of `HOLD_NO_PEOPLE` and `GO_BY_THEMSELVES`, so that nothing is
left out by forgetting it; the source of runbooks too. A mail address or a full name is found as a word of its own
wherever it stands. A user name may be a word of the language as well: it is found as `@name` or `user:name`, as the
whole value of a key that names people (`owner`, `participants`), and in a sentence only where it is no word of letters
alone.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import CharField, JSONField, Model, Q, TextField, Value
from django.db.models.functions import Cast

from core.lifecycle import Person

SHORTEST_NAME = 3
AT_ONCE = 10_000
PEOPLE_KEYS = re.compile(
    r"(^|_)(by|authors?|approvers?|owners?|actors?|person|people|persons|recipients?|users?|usernames?|e?mails?|"
    r"assignees?|reviewers?|reporters?|members?|participants?|contacts?|who|whom|holders?|requesters?|facilitators?|"
    r"commanders?|responders?|observers?|scribes?|leads?|rotation|on_call|escalate_to|notify)($|_)"
)
TEXTS = ("runbooks.RunbookRevision.source",)
# Numbers, hosts, formats, rights: no place for people.
HOLD_NO_PEOPLE = {
    "accounts.IdentityProvider.configuration": "addresses and groups of a provider",
    "accounts.SignInPolicy.second_factor_roles": "roles",
    "compliance.FrameworkVersion.added": "references of requirements",
    "compliance.FrameworkVersion.changed": "references of requirements",
    "compliance.FrameworkVersion.retired": "references of requirements",
    "compliance.Occurrence.entries": "numbers of entries",
    "compliance.Population.items": "numbers of entries",
    "compliance.Requirement.direct": "evidence types",
    "compliance.Requirement.supporting": "evidence types",
    "core.SchemaRelease.formats": "numbers of formats",
    "custody.Erasure.outcome": "counts",
    "custody.LegalHold.kept": "counts",
    "reliability.TallySlot.labels": "labels of measured series",
}
# What has an end of its own, or an erasure of its own.
GO_BY_THEMSELVES = {
    "accounts.ApiToken": "goes with the person",
    "accounts.ProvidedIdentity": "goes with the person",
    "accounts.SignInSession": "goes with the person",
    "core.Event": "goes a week after everybody has heard it",
    "delivery.Delivery": "goes by retention; messages to the person are emptied",
    "incidents.Alert": "what senders said; goes by retention",
    "incidents.InboundBody": "what senders posted; goes by retention",
    "incidents.InboundEvent": "what senders posted; goes by retention",
    "ledger.LedgerEntry": "payloads have tombstones",
    "ledger.LogHead": "hashes",
    "ledger.LogVerification": "what a verification found",
}
# Written by runs, one row or more for each: many, so that a page asks for them only when it is told to.
RECORDS = frozenset(
    {
        "chaos.ChaosRun",
        "chaos.Fault",
        "chaos.GameDaySession",
        "chaos.RecoveryTestRun",
        "compliance.ChangeRecord",
        "compliance.PackExport",
        "compliance.ScanRun",
        "drivers.AgentOrder",
        "incidents.EscalationRun",
        "incidents.Incident",
        "incidents.Review",
        "runbooks.RunbookRun",
        "runbooks.StepAttempt",
    }
)
OTHERS = frozenset({"account", "mfa", "sessions", "socialaccount"})


@dataclass(frozen=True)
class DefiningTable:
    """A table with the columns of it that hold JSON, or the source of a definition."""

    model: type[Model]
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """`chaos.gameday`."""
        return self.model._meta.label_lower  # noqa: SLF001 Django's documented name

    @property
    def name(self) -> str:
        """What the table is called."""
        return str(self.model._meta.verbose_name_plural).capitalize()  # noqa: SLF001

    @property
    def is_record(self) -> bool:
        """Say whether runs write it, and not people."""
        return self.model._meta.label in RECORDS  # noqa: SLF001


def defining_tables() -> list[DefiningTable]:
    """Return every table that may name people inside of what it holds."""
    found = []
    for model in apps.get_models():
        label = model._meta.label  # noqa: SLF001
        if model._meta.app_label in OTHERS or label in GO_BY_THEMSELVES:  # noqa: SLF001
            continue
        columns = tuple(
            field.name
            for field in model._meta.concrete_fields  # noqa: SLF001
            if (
                isinstance(field, JSONField) and field.name != "allow" and f"{label}.{field.name}" not in HOLD_NO_PEOPLE
            )
            or f"{label}.{field.name}" in TEXTS
        )
        if columns:
            found.append(DefiningTable(model, columns))
    return found


class NamesIn:
    """The names of a person: whether a value has one, and the value with the account's number in its place."""

    def __init__(self, person: Person) -> None:
        self._gone = f"erased-{person.user_id}"
        username = person.username if len(person.username) >= SHORTEST_NAME else ""
        if username.isdecimal():
            username = ""
        clear = [name for name in (person.email, person.full_name) if len(name) >= SHORTEST_NAME]
        self.looked_for = [*clear, *([username] if username else [])]
        self._clear = [_word(name) for name in clear]
        self._username = username
        if username:
            self._clear.append(
                re.compile(rf"(?<![\w.+-]@)(?<=@){re.escape(username)}(?![\w@-])(?!\.\w)", re.IGNORECASE)
            )
            self._clear.append(re.compile(rf"(?<=\buser:){re.escape(username)}(?![\w@-])", re.IGNORECASE))
        self._in_sentences = _word(username) if username and not username.isalpha() else None
        item = rf"[\"']?{re.escape(username)}[\"']?"
        self._line = re.compile(rf"^(\s*(?:-\s+)?(?:(?P<key>[\w-]+):\s*)?)({item})(\s*(?:#.*)?)$", re.IGNORECASE)

    def without(self, value: Any, key: str = "") -> Any:
        """Return a value without the names; the value itself where there is none."""
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, list):
            return [self.without(one, key) for one in value]
        if isinstance(value, dict):
            return {self._text(str(name), key): self.without(one, str(name)) for name, one in value.items()}
        return value

    def _text(self, text: str, key: str) -> str:
        for word in self._clear:
            text = word.sub(self._gone, text)
        if not self._username:
            return text
        if text.lower() == self._username.lower():
            return self._gone if names_people(key) else text
        if self._in_sentences is not None and re.search(r"\s", text):
            text = self._in_sentences.sub(self._gone, text)
        return "\n".join(map(self._source_line, text.split("\n"))) if "\n" in text else text

    def _source_line(self, line: str) -> str:
        """Return a line of YAML or Markdown, `owner: dora` or `- dora`, without the user name."""
        found = self._line.match(line)
        if found is None or (found["key"] is not None and not names_people(found["key"])):
            return line
        return f"{found[1]}{self._gone}{found[4]}" if found["key"] or "- " in found[1] else line


def names_people(key: str) -> bool:
    """Say whether a key is called as what names people: `owner`, `approvedBy`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
    return PEOPLE_KEYS.search(snake) is not None


def rows_naming(person: Person, tables: Iterable[DefiningTable]) -> Iterator[tuple[DefiningTable, list[int]]]:
    """Yield tables with the keys of the rows that name a person, as far as AT_ONCE; tables without are left out."""
    names, by_key = NamesIn(person), {table.key: table for table in tables}
    if not names.looked_for or not by_key:
        return
    first, *rest = [_candidates(table, names.looked_for) for table in by_key.values()]
    found: dict[str, list[int]] = {}
    # One question to all tables; what only looks like a name is told apart here.
    for key, pk in first.union(*rest, all=True):
        found.setdefault(key, []).append(pk)
    for key, keys in sorted(found.items()):
        table = by_key[key]
        rows = table.model._base_manager.filter(pk__in=keys[:AT_ONCE]).values("pk", *table.columns)  # noqa: SLF001
        naming = [row["pk"] for row in rows if any(names.without(row[c], c) != row[c] for c in table.columns)]
        if naming:
            yield table, naming


def rename_in(person: Person, table: DefiningTable, keys: Iterable[int]) -> int:
    """Put the account's number in the place of the person's names; returns how many rows changed."""
    names, changed = NamesIn(person), 0
    for key in keys:
        with transaction.atomic():
            rows = table.model._base_manager.select_for_update().filter(pk=key)  # noqa: SLF001
            row = rows.values(*table.columns).first()
            if row is None:
                continue
            changes = {c: new for c in table.columns if (new := names.without(row[c], c)) != row[c]}
            # What is kept of its digest stays that of what was written then.
            changed += rows.update(**changes) if changes else 0
    return changed


def _candidates(table: DefiningTable, names: Iterable[str]) -> Any:
    wanted, texts = Q(pk__in=()), {}
    for column in table.columns:
        texts[f"text_of_{column}"] = Cast(column, TextField())
        for name in names:
            # SQLite keeps JSON with other letters than ASCII escaped.
            for written in dict.fromkeys((name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1])):
                wanted |= Q(**{f"text_of_{column}__icontains": written})
    rows = table.model._base_manager.annotate(**texts).filter(wanted).order_by()  # noqa: SLF001
    return rows.annotate(in_table=Value(table.key, output_field=CharField())).values_list("in_table", "pk")


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.@-]){re.escape(name)}(?![\w@-])", re.IGNORECASE)
