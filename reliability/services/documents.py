"""SLOs as OpenSLO v1 documents: applying them whole or not at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.selectors import environments, service_by_slug
from catalog.services import apply_documents as apply_to_catalog
from core.parsing import InputRefusedError, LineIndex, Problem, parse_document, refuse
from reliability.models import SLO, Definition, SLOVersion
from reliability.selectors.documents import difference, export_documents
from reliability.services.openslo import (
    KINDS,
    DataSourceDocument,
    Document,
    NamedDocument,
    ServiceDocument,
    SLIDocument,
    SLODocument,
)
from reliability.services.policies import KIND as POLICY
from reliability.services.policies import apply_policies
from reliability.services.resolving import Place, ensure_sli_can_be_counted, resolve
from reliability.services.sources import apply_source, drop_source
from reliability.services.tiers import PREFIX, refuse_unknown_annotations
from reliability.services.versions import put_in_force, retire

REFERENCED = ("SLI", "AlertPolicy", "AlertCondition")
SERVICE_ENVIRONMENT = f"{PREFIX}environment"
SERVICE_TIER = f"{PREFIX}tier"
SERVICE_TEAM = f"{PREFIX}team"


@dataclass(frozen=True)
class _Parsed:
    document: Document
    data: Any
    where: str
    lines: LineIndex

    @property
    def name(self) -> str:
        return f"{self.document.kind} {self.document.metadata.name}"


@dataclass
class _Outcome:
    """What applying did, by name."""

    words: dict[str, list[str]] = field(
        default_factory=lambda: {"created": [], "changed": [], "unchanged": [], "pruned": [], "warnings": []}
    )

    def note(self, word: str, name: str) -> None:
        self.words[word].append(name)


@transaction.atomic
def apply_documents(
    *,
    principal: Principal,
    documents: Sequence[tuple[Any, LineIndex]],
    source: str = "slo",
    dry_run: bool = False,
    prune: bool = False,
) -> dict[str, list[str]]:
    """Create or update what documents say, all or nothing.

    Returns names by `created`, `changed`, `unchanged`, `pruned`, what was read in an unexpected way as `warnings`, and
    with `dry_run` (nothing is kept) the `diff` to what is in force. With `prune`, what the documents do not name is
    retired. A changed definition of an SLO becomes a new version, also when what changed is an SLI or policy that it
    names. A new version that counts the same events goes on with the same tallies. Raises InputRefusedError.
    """
    before = export_documents() if dry_run else []
    outcome = _Outcome()
    policies = [one for one in documents if isinstance(one[0], dict) and one[0].get("kind") == POLICY]
    documents = [one for one in documents if one not in policies]
    for word, names in apply_policies(principal=principal, documents=policies, source=source, prune=prune).items():
        outcome.words[word] += names
    applied: set[str] = set()
    order = list(KINDS)
    parsed = sorted(_parse_all(documents, source), key=lambda one: order.index(one.document.kind))
    for one in parsed:
        if isinstance(one.document, SLODocument):
            outcome.note(
                _apply_slo(principal, one.document, one.data, one.where, lines=one.lines, outcome=outcome), one.name
            )
            applied.add(one.document.metadata.name)
        else:
            outcome.note(_apply_named(principal, one, one.document, outcome), one.name)
    if any(name.split()[0] in REFERENCED for name in outcome.words["changed"]):
        _renew_slos(principal, outcome, but=applied)
    if prune:
        _prune(principal, parsed, outcome)
    if dry_run:
        outcome.words["diff"] = difference(before, export_documents())
        transaction.set_rollback(True)
    return outcome.words


def _parse_all(documents: Sequence[tuple[Any, LineIndex]], source: str) -> list[_Parsed]:
    parsed: list[_Parsed] = []
    problems: list[Problem] = []
    for number, (data, lines) in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} document {number}"
        kind = data.get("kind") if isinstance(data, dict) else None
        model = KINDS.get(kind) if isinstance(kind, str) else None
        if model is None:
            line = lines.line_of(("kind",))
            place = f"{where}{f':{line}' if line else ''} kind"
            problems.append(
                Problem(where=place, found=str(kind), allowed=f"one of {', '.join((*KINDS, POLICY))} is allowed")
            )
            continue
        try:
            parsed.append(_Parsed(parse_document(model, data, source=where, lines=lines), data, where, lines))
        except InputRefusedError as error:
            problems.extend(error.problems)
    names = [one.name for one in parsed]
    problems += [
        Problem(where=source, found=name, allowed="each name may stand once in what is applied together")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if problems:
        raise InputRefusedError(problems)
    return parsed


def _apply_named(principal: Principal, one: _Parsed, document: NamedDocument, outcome: _Outcome) -> str:
    """Keep a document that others refer to by name."""
    if isinstance(document, ServiceDocument):
        _apply_service(principal, document, one.where)
    elif isinstance(document, DataSourceDocument):
        return apply_source(principal, document, one.data, outcome.words["warnings"])
    else:
        ensure_may(principal, Capability.SLO_EDIT)
        if isinstance(document, SLIDocument):
            ensure_sli_can_be_counted(document.spec, one.where, one.lines)
    known = Definition.objects.filter(kind=document.kind, slug=document.metadata.name).first()
    if known is None:
        Definition.objects.create(kind=document.kind, slug=document.metadata.name, document=one.data)
        return "created"
    if known.document == one.data:
        return "unchanged"
    Definition.objects.filter(pk=known.pk).update(document=one.data)
    return "changed"


def _apply_service(principal: Principal, document: ServiceDocument, where: str) -> None:
    """Add a service to the catalog where it is unknown. A known one is the catalog's own to change."""
    annotations = document.metadata.annotations
    refuse_unknown_annotations(annotations, (SERVICE_ENVIRONMENT, SERVICE_TIER, SERVICE_TEAM), where)
    if service_by_slug(slug=document.metadata.name) is not None:
        return
    known = [one.slug for one in environments()]
    environment = annotations.get(SERVICE_ENVIRONMENT) or (known[0] if len(known) == 1 else "production")
    tier = annotations.get(SERVICE_TIER, "3")
    wanted: list[dict[str, Any]] = []
    if environment not in known:
        wanted.append(_of_catalog("Environment", environment, "", {"production": environment == "production"}))
    spec: dict[str, Any] = {"environment": environment, "tier": int(tier) if tier.isdecimal() else tier}
    if SERVICE_TEAM in annotations:
        spec["team"] = annotations[SERVICE_TEAM]
    wanted.append(_of_catalog("Service", document.metadata.name, document.metadata.displayName, spec))
    apply_to_catalog(principal=principal, documents=[(one, LineIndex({})) for one in wanted], source=where)


def _of_catalog(kind: str, name: str, title: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "title": title} if title else {"name": name}
    return {"apiVersion": "assay/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _apply_slo(
    principal: Principal, document: SLODocument, data: Any, where: str, *, lines: LineIndex | None, outcome: _Outcome
) -> str:
    name = document.metadata.name
    service = service_by_slug(slug=document.spec.service)
    if service is None:
        raise refuse(
            str(Place(where, lines, ("spec", "service"))),
            found=document.spec.service,
            allowed="the slug of a service of the catalog is allowed",
        )
    ensure_may(principal, Capability.SLO_EDIT, team_id=service.team_id)
    before = SLO.objects.select_related("service").filter(slug=name).first()
    if before is not None and before.service_id != service.pk:
        ensure_may(principal, Capability.SLO_EDIT, team_id=before.service.team_id)
    resolved = resolve(document, where, lines)
    outcome.words["warnings"] += resolved.warnings
    return put_in_force(principal=principal, document=document, service=service, data=data, resolved=resolved)


def _renew_slos(principal: Principal, outcome: _Outcome, *, but: set[str]) -> None:
    """Make new versions of the SLOs that name something that has changed."""
    in_force = SLOVersion.objects.filter(retired_at__isnull=True, slo__part_of__isnull=True).exclude(slo__slug__in=but)
    for version in in_force.select_related("slo"):
        name = f"SLO {version.slo.slug}"
        document = parse_document(SLODocument, version.definition, source=name)
        if _apply_slo(principal, document, version.definition, name, lines=None, outcome=_Outcome()) == "changed":
            outcome.note("changed", name)


def _prune(principal: Principal, parsed: Iterable[_Parsed], outcome: _Outcome) -> None:
    """Retire the SLOs, and drop the documents, that are not among those that were applied. Counts stay."""
    kept = {one.name for one in parsed}
    in_force = SLOVersion.objects.filter(retired_at__isnull=True, slo__part_of__isnull=True)
    for version in in_force.select_related("slo", "slo__service"):
        if f"SLO {version.slo.slug}" not in kept:
            retire(principal=principal, version=version)
            outcome.note("pruned", f"SLO {version.slo.slug}")
    for definition in Definition.objects.all():
        name = f"{definition.kind} {definition.slug}"
        if name in kept:
            continue
        ensure_may(principal, Capability.SLO_EDIT)
        if definition.kind == "DataSource":
            drop_source(principal, definition.slug)
        definition.delete()
        outcome.note("pruned", name)
