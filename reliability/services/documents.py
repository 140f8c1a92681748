"""SLOs as OpenSLO v1 documents: applying them whole or not at all."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.selectors import service_by_slug
from core.clock import database_now
from core.parsing import InputRefusedError, LineIndex, Problem, parse_document, refuse
from ledger.data.slo import SloDeclared
from ledger.services import record
from reliability.models import SLO, Collection, DataSource, Definition, SLOVersion
from reliability.services.openslo import (
    KINDS,
    AlertConditionDocument,
    AlertPolicyDocument,
    DataSourceDocument,
    Document,
    ServiceDocument,
    SLIDocument,
    SLODocument,
)
from reliability.services.resolving import Resolved, resolve

REFERENCED = ("SLI", "AlertPolicy", "AlertCondition")


@dataclass(frozen=True)
class _Parsed:
    document: Document
    data: Any
    where: str


@transaction.atomic
def apply_documents(
    *,
    principal: Principal,
    documents: Sequence[tuple[Any, LineIndex]],
    source: str = "slo",
    dry_run: bool = False,
) -> dict[str, list[str]]:
    """Create or update what documents say, all or nothing; returns names by `created`, `changed`, `unchanged`.

    A changed definition of an SLO becomes a new version, also when what changed is an SLI or policy that it names. A
    new version that counts the same events goes on with the same tallies. Raises InputRefusedError.
    """
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    applied: set[str] = set()
    order = list(KINDS)
    for one in sorted(_parse_all(documents, source), key=lambda one: order.index(one.document.kind)):
        document, name = one.document, one.document.metadata.name
        if isinstance(document, ServiceDocument):
            _service_of(name, f"{one.where} metadata.name")
            word = "unchanged"
        elif isinstance(document, DataSourceDocument):
            word = _apply_source(principal, document)
        elif isinstance(document, SLODocument):
            word = _apply_slo(principal, document, one.data, one.where)
            applied.add(name)
        else:
            word = _apply_definition(principal, document, one.data)
        outcome[word].append(f"{document.kind} {name}")
    if any(name.split()[0] in REFERENCED for name in outcome["changed"]):
        for version in SLOVersion.objects.filter(retired_at__isnull=True).exclude(slo__slug__in=applied):
            document = parse_document(SLODocument, version.definition, source=f"SLO {version.slo.slug}")
            if _apply_slo(principal, document, version.definition, f"SLO {version.slo.slug}") == "changed":
                outcome["changed"].append(f"SLO {version.slo.slug}")
    if dry_run:
        transaction.set_rollback(True)
    return outcome


def _parse_all(documents: Sequence[tuple[Any, LineIndex]], source: str) -> list[_Parsed]:
    parsed: list[_Parsed] = []
    problems: list[Problem] = []
    for number, (data, lines) in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} document {number}"
        kind = data.get("kind") if isinstance(data, dict) else None
        model = KINDS.get(kind) if isinstance(kind, str) else None
        if model is None:
            allowed = f"one of {', '.join(KINDS)} is allowed"
            problems.append(Problem(where=f"{where} kind", found=str(kind), allowed=allowed))
            continue
        try:
            parsed.append(_Parsed(parse_document(model, data, source=where, lines=lines), data, where))
        except InputRefusedError as error:
            problems.extend(error.problems)
    if problems:
        raise InputRefusedError(problems)
    return parsed


def _apply_source(principal: Principal, document: DataSourceDocument) -> str:
    """Create or change a source. One on a private address is for administrators: it opens the outbound guard."""
    details = document.spec.connectionDetails
    ensure_may(principal, Capability.SITE_ADMIN if details.allowPrivate else Capability.SLO_EDIT)
    parts = urlsplit(details.url)
    if parts.username or parts.query or not parts.hostname:
        raise refuse(
            f"DataSource {document.metadata.name} spec.connectionDetails.url",
            found=f"{parts.scheme}://{parts.hostname or ''}",
            allowed="an address without user, password and query is allowed",
        )
    values = {
        "name": document.metadata.displayName or document.metadata.name,
        "url": details.url.rstrip("/"),
        "allow_private": details.allowPrivate,
    }
    known = DataSource.objects.filter(slug=document.metadata.name).first()
    if known is None:
        DataSource.objects.create(slug=document.metadata.name, **values)
        return "created"
    if all(getattr(known, name) == value for name, value in values.items()):
        return "unchanged"
    DataSource.objects.filter(pk=known.pk).update(**values)
    return "changed"


def _apply_definition(
    principal: Principal, document: SLIDocument | AlertConditionDocument | AlertPolicyDocument, data: Any
) -> str:
    ensure_may(principal, Capability.SLO_EDIT)
    known = Definition.objects.filter(kind=document.kind, slug=document.metadata.name).first()
    if known is None:
        Definition.objects.create(kind=document.kind, slug=document.metadata.name, document=data)
        return "created"
    if known.document == data:
        return "unchanged"
    Definition.objects.filter(pk=known.pk).update(document=data)
    return "changed"


def _apply_slo(principal: Principal, document: SLODocument, data: Any, where: str) -> str:
    name = document.metadata.name
    service = _service_of(document.spec.service, f"{where} spec.service")
    ensure_may(principal, Capability.SLO_EDIT, team_id=service.team_id)
    before = SLO.objects.select_related("service").filter(slug=name).first()
    if before is not None and before.service_id != service.pk:
        ensure_may(principal, Capability.SLO_EDIT, team_id=before.service.team_id)
    resolved = resolve(document, where)
    labels = {
        key: value if isinstance(value, str) else ", ".join(value) for key, value in document.metadata.labels.items()
    }
    slo, created = SLO.objects.update_or_create(
        slug=name,
        defaults={
            "name": document.metadata.displayName or name,
            "description": document.spec.description,
            "service": service,
            "labels": labels,
        },
    )
    digest = hashlib.sha256(orjson.dumps([data, resolved.as_json()], option=orjson.OPT_SORT_KEYS)).hexdigest()
    in_force = SLOVersion.objects.select_for_update(of=("self",)).filter(slo=slo, retired_at__isnull=True).first()
    if in_force is not None and in_force.definition_sha256 == digest:
        return "unchanged"
    version = _new_version(slo, in_force, data, digest, resolved)
    record(
        SloDeclared(
            slo=name,
            service=service.slug,
            definition_version=version.number,
            definition_sha256=digest,
            target=str(version.target),
            window_seconds=int(version.window.length.total_seconds()),
            budgeting_method="Occurrences",
        ),
        actor=principal.reference,
        subject=f"slo:{name}",
    )
    return "created" if created else "changed"


def _new_version(slo: SLO, in_force: SLOVersion | None, data: Any, digest: str, resolved: Resolved) -> SLOVersion:
    """Retire the definition in force and put the new one into its place."""
    now = database_now()
    same_events = (
        in_force is not None
        and in_force.indicator == resolved.indicator
        and in_force.source_type == resolved.source_type
        and in_force.data_source == resolved.data_source
    )
    if in_force is not None:
        SLOVersion.objects.filter(pk=in_force.pk).update(retired_at=now)
    version = SLOVersion.objects.create(
        slo=slo,
        number=in_force.number + 1 if in_force else 1,
        definition=data,
        definition_sha256=digest,
        indicator=resolved.indicator,
        source_type=resolved.source_type,
        data_source=resolved.data_source,
        counts_with_id=in_force.tally_id if in_force and same_events else None,
        target=resolved.target,
        window_days=resolved.window_days,
        calendar=resolved.calendar,
        tiers=[vars(tier) for tier in resolved.tiers],
        effective_from=now,
    )
    if not same_events and in_force is not None:
        Collection.objects.filter(version_id=in_force.tally_id).delete()
    if not same_events and resolved.source_type == "prometheus":
        Collection.objects.create(version=version, watermark=now, due_at=now)
    return version


def _service_of(slug: str, where: str) -> Any:
    service = service_by_slug(slug=slug)
    if service is None:
        raise refuse(where, found=slug, allowed="the slug of a service of the catalog is allowed")
    return service
