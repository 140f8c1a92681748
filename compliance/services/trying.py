"""Try a rule on sample entries, or on what the ledger holds, before it judges anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.utils.dateparse import parse_datetime

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.domain.rules import Fact, Rule
from compliance.services.checking import fact_of
from compliance.services.content import unknown_names
from core.clock import database_now
from core.parsing import InputRefusedError, Problem, load_yaml_documents, parse_document, refuse
from ledger.data import payload_schema, payload_schemas
from ledger.selectors import entries

MOST = 200


@dataclass(frozen=True)
class Tried:
    """What a rule says of one entry."""

    what: str
    subject: str
    occurred_at: datetime
    verdict: str
    reasons: Sequence[str] = ()

    @property
    def tone(self) -> str:
        """The verdict's tone."""
        return {"passes": "ok", "fails": "bad"}.get(self.verdict, "plain")


def try_rule(*, principal: Principal, rule: str, samples: str = "", days: int = 90) -> list[Tried]:
    """Return what a rule in YAML says of each sample entry; without samples, of the newest entries of its kinds.

    Samples are a JSON list of `{"type", "payload"}`, with `actor`, `subject` and `occurred_at` where they matter; each
    payload must be one that the ledger would take. Raises InputRefusedError.
    """
    ensure_may(principal, Capability.COMPLIANCE_VIEW)
    documents = load_yaml_documents(rule.encode(), source="rule")
    if len(documents) != 1:
        raise refuse("rule", found=f"{len(documents)} documents", allowed="one rule is allowed")
    data, lines = documents[0]
    wanted = parse_document(Rule, data, source="rule", lines=lines)
    if problems := list(unknown_names(wanted, where="rule")):
        raise InputRefusedError(problems)
    facts = _samples(samples) if samples.strip() else _newest(wanted, days=days)
    return [_tried(wanted, fact) for fact in facts]


def _tried(rule: Rule, fact: Fact) -> Tried:
    if not rule.selects(fact):
        return Tried(fact.entry_type, fact.subject, fact.occurred_at, "not looked at")
    failures = rule.failures(fact)
    return Tried(fact.entry_type, fact.subject, fact.occurred_at, "fails" if failures else "passes", failures)


def _newest(rule: Rule, *, days: int) -> list[Fact]:
    since = database_now() - timedelta(days=days)
    rows = entries(types=rule.entries, since=since).order_by("-occurred_at")[:MOST]
    return [fact for row in rows if (fact := fact_of(row)) is not None]


def _samples(text: str) -> list[Fact]:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise refuse("samples", found=str(error), allowed="a JSON list of entries is allowed") from None
    if not isinstance(given, list) or not given or len(given) > MOST:
        raise refuse("samples", found=type(given).__name__, allowed=f"a JSON list of 1 to {MOST} entries is allowed")
    problems: list[Problem] = []
    facts = []
    for number, one in enumerate(given, start=1):
        where = f"samples entry {number}"
        if not isinstance(one, dict) or not isinstance(one.get("payload"), dict):
            problems.append(Problem(where, "something else", "an object with type and payload is allowed"))
            continue
        try:
            facts.append(_sample(one, number, where=where))
        except InputRefusedError as error:
            problems.extend(error.problems)
    if problems:
        raise InputRefusedError(problems)
    return facts


def _sample(one: dict[str, Any], number: int, *, where: str) -> Fact:
    name = str(one.get("type", ""))
    versions = [version for kind, version in payload_schemas() if kind == name]
    schema = payload_schema(name, max(versions)) if versions else None
    if schema is None:
        raise refuse(
            f"{where} type", found=name or "nothing", allowed="a kind of entry that the ledger knows is allowed"
        )
    payload = parse_document(schema, one["payload"], source=f"{where} payload").model_dump(mode="json")
    moment = parse_datetime(str(one.get("occurred_at", "")))
    return Fact(
        number,
        name,
        moment if moment is not None and moment.tzinfo is not None else database_now(),
        str(one.get("actor", "user:1")),
        str(one.get("subject", "sample")),
        payload,
    )
