"""SLOs and all that they refer to, as OpenSLO documents again."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from reliability.models import BudgetPolicy, Definition, SLOVersion

ORDER = (
    "Service",
    "DataSource",
    "SLI",
    "AlertNotificationTarget",
    "AlertCondition",
    "AlertPolicy",
    "SLO",
    "ErrorBudgetPolicy",
)


def export_documents(*, names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return what is in force as documents that apply to the same: all, or SLOs by name with what they refer to."""
    wanted = set(names)
    definitions = {(one.kind, one.slug): one.document for one in Definition.objects.all()}
    versions = SLOVersion.objects.filter(retired_at__isnull=True, slo__part_of__isnull=True).select_related("slo")
    slos = {("SLO", one.slo.slug): one.definition for one in versions if not wanted or one.slo.slug in wanted}
    if wanted:
        kept: set[tuple[str, str]] = set()
        for document in slos.values():
            _gather(document, definitions, kept)
        definitions = {key: document for key, document in definitions.items() if key in kept}
    policies = {} if wanted else {("ErrorBudgetPolicy", one.slug): one.document for one in BudgetPolicy.objects.all()}
    found = {**definitions, **slos, **policies}
    return [found[key] for key in sorted(found, key=lambda key: (ORDER.index(key[0]), key[1]))]


def documents_as_yaml(documents: Sequence[Any]) -> str:
    """Return documents as a YAML stream."""
    return str(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=100))


def difference(before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    """Return a unified diff for each document that differs."""
    old, new = _by_name(before), _by_name(after)
    found = []
    for name in sorted({*old, *new}):
        one, other = old.get(name, []), new.get(name, [])
        lines = list(difflib.unified_diff(one, other, f"{name} in force", f"{name} as applied", lineterm=""))
        if lines:
            found.append("\n".join(lines))
    return found


def _by_name(documents: Sequence[Any]) -> dict[str, list[str]]:
    return {f"{one['kind']} {one['metadata']['name']}": documents_as_yaml([one]).splitlines() for one in documents}


_REFERENCES = {
    "indicatorRef": "SLI",
    "alertPolicyRef": "AlertPolicy",
    "conditionRef": "AlertCondition",
    "targetRef": "AlertNotificationTarget",
    "metricSourceRef": "DataSource",
    "service": "Service",
}


def _gather(value: Any, definitions: dict[tuple[str, str], Any], kept: set[tuple[str, str]]) -> None:
    """Add what a document refers to, and what that refers to."""
    if isinstance(value, list):
        for one in value:
            _gather(one, definitions, kept)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        kind = _REFERENCES.get(key)
        if kind is not None and isinstance(inner, str) and (kind, inner) in definitions and (kind, inner) not in kept:
            kept.add((kind, inner))
            _gather(definitions[kind, inner], definitions, kept)
        elif not isinstance(inner, str):
            _gather(inner, definitions, kept)
