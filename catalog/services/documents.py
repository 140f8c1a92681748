"""The catalog as YAML: what a file may say, and applying it whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug
from accounts.services import create_team, ensure_may, set_team_members
from catalog.models import Dependency, Environment, Region, Service
from catalog.services import backstage
from catalog.services.kinds import (
    KINDS,
    Document,
    Duration,
    EnvironmentDocument,
    RegionDocument,
    ServiceDocument,
    TeamDocument,
)
from core.parsing import InputRefusedError, LineIndex, Problem, parse_document, refuse
from ledger.data.access import AuditedAction
from ledger.services import record

# Field to its value before and after.
Changes = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """One field of one thing, before and after, in words."""

    name: str
    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Applied:
    """What applying documents changed, as `Service gateway`. `notes` name what a Backstage file says beyond that."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def parse_documents(documents: Sequence[tuple[Any, LineIndex]], *, source: str) -> tuple[list[Document], list[str]]:
    """Parse the catalog's kinds and Backstage's entities; return Assay's documents and notes on what has no place.

    Raises InputRefusedError with every problem of every document.
    """
    parsed: list[Document] = []
    entities: list[backstage.Entity] = []
    problems: list[Problem] = []
    for number, (data, lines) in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} document {number}"
        try:
            if backstage.is_entity(data):
                entities.append(backstage.parse_entity(data, source=where, lines=lines))
                continue
            kind = data.get("kind") if isinstance(data, dict) else None
            model = KINDS.get(kind) if isinstance(kind, str) else None
            if model is None:
                raise refuse(f"{where} kind", found=str(kind), allowed=f"one of {', '.join(KINDS)} is allowed")
            parsed.append(parse_document(model, data, source=where, lines=lines))
        except InputRefusedError as error:
            problems.extend(error.problems)
    if problems:
        raise InputRefusedError(problems)
    named = [one.metadata.name for one in parsed if isinstance(one, EnvironmentDocument)]
    environments = sorted({*named, *Environment.objects.values_list("slug", flat=True)})
    translated, notes = backstage.translate(entities, environments=environments, source=source)
    return [*parsed, *translated], notes


@transaction.atomic
def apply_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "catalog", dry_run: bool = False
) -> Applied:
    """Create or update what the documents say, all or nothing; applying them again changes nothing.

    `documents` come from `core.parsing.load_yaml_documents`. With `dry_run` nothing is kept, and the answer says what
    would be. Raises InputRefusedError.
    """
    ensure_may(principal, Capability.CATALOG_EDIT)
    parsed, notes = parse_documents(documents, source=source)
    parsed.sort(key=lambda document: list(KINDS).index(document.kind))
    found: dict[str, Changes | None] = {}
    for document in parsed:
        found[f"{document.kind} {document.metadata.name}"] = _apply(principal, document, source)
    for document in parsed:
        if isinstance(document, ServiceDocument):
            changes = found[f"Service {document.metadata.name}"]
            needs = _set_dependencies(document, source)
            if changes is not None and needs:
                changes["dependsOn"] = needs
    created = [name for name, changes in found.items() if changes is None]
    changed = [name for name, changes in found.items() if changes]
    differences = [
        Difference(name, field, _in_words(before), _in_words(after))
        for name in changed
        for field, (before, after) in (found[name] or {}).items()
    ]
    for name in (*created, *changed):
        lines = {one.field: f"{one.before} -> {one.after}"[:300] for one in differences if one.name == name}
        record(
            AuditedAction(action="catalog.applied", target=name, after={"source": source[:200], **lines}),
            actor=principal.reference,
            subject=name.lower().replace(" ", ":"),
        )
    if dry_run:
        transaction.set_rollback(True)
    unchanged = [name for name, changes in found.items() if changes == {}]
    return Applied(tuple(created), tuple(changed), tuple(unchanged), tuple(differences), tuple(notes))


def _apply(principal: Principal, document: Document, source: str) -> Changes | None:
    """Write one thing; return what changed of it, or None when it is new."""
    name, title = document.metadata.name, document.metadata.title or document.metadata.name
    if isinstance(document, TeamDocument):
        before = team_by_slug(slug=name)
        old = {
            "name": before.name if before else "",
            "members": sorted(before.members.values_list("username", flat=True)) if before else [],
        }
        team = create_team(principal=principal, slug=name, name=title)
        members = document.spec.members
        if members is not None:
            set_team_members(principal=principal, team=team, usernames=members)
        new = {"name": title, "members": old["members"] if members is None else sorted(members)}
        return None if before is None else {key: (old[key], new[key]) for key in old if old[key] != new[key]}
    if isinstance(document, RegionDocument):
        return _save(Region, name, {"name": title, "residency": document.spec.residency})
    if isinstance(document, EnvironmentDocument):
        return _save(
            Environment,
            name,
            {"name": title, "chaos_allowed": document.spec.chaosAllowed, "production": document.spec.production},
        )
    spec = document.spec
    where = f"{source} Service {name}"
    owner = team_by_slug(slug=spec.team) if spec.team else None
    if spec.team and owner is None:
        raise refuse(f"{where} spec.team", found=spec.team, allowed="the slug of a team is allowed")
    return _save(
        Service,
        name,
        {
            "name": title,
            "description": document.metadata.description,
            "team_id": None if owner is None else owner.pk,
            "environment_id": _find(Environment, spec.environment, f"{where} spec.environment"),
            "region_id": _find(Region, spec.region, f"{where} spec.region") if spec.region else None,
            "tier": spec.tier,
            "lifecycle": spec.lifecycle,
            "rto": spec.rto,
            "rpo": spec.rpo,
            "url": spec.url,
        },
    )


def _save(model: type[Region | Environment | Service], slug: str, values: dict[str, Any]) -> Changes | None:
    thing = model.objects.filter(slug=slug).first()
    if thing is None:
        model.objects.create(slug=slug, **values)
        return None
    changes = {key: (getattr(thing, key), value) for key, value in values.items() if getattr(thing, key) != value}
    if changes:
        model.objects.filter(pk=thing.pk).update(**values)
    return {key.removesuffix("_id"): _named(model, key, pair) for key, pair in changes.items()}


def _named(model: type[Region | Environment | Service], key: str, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return slugs for the keys of a foreign key's old and new value."""
    related = model._meta.get_field(key.removesuffix("_id")).related_model if key.endswith("_id") else None  # noqa: SLF001 Django's documented name
    if related is None or isinstance(related, str):
        return pair
    slugs = dict(related._default_manager.filter(pk__in=[pk for pk in pair if pk]).values_list("pk", "slug"))  # noqa: SLF001
    return slugs.get(pair[0]), slugs.get(pair[1])


def _find(model: type[Region | Environment], slug: str, where: str) -> int:
    thing = model.objects.filter(slug=slug).first()
    if thing is None:
        raise refuse(where, found=slug, allowed=f"the slug of a known {model.__name__.lower()} is allowed")
    return thing.pk


def _set_dependencies(document: ServiceDocument, source: str) -> tuple[Any, Any] | None:
    consumer = Service.objects.get(slug=document.metadata.name)
    wanted: set[int] = set()
    for slug in document.spec.dependsOn:
        provider = Service.objects.filter(slug=slug).first()
        if provider is None or provider == consumer:
            raise refuse(
                f"{source} Service {document.metadata.name} spec.dependsOn",
                found=slug,
                allowed="the slug of another service is allowed",
            )
        wanted.add(provider.pk)
    found = dict(Dependency.objects.filter(consumer=consumer).values_list("provider_id", "provider__slug"))
    if set(found) == wanted:
        return None
    Dependency.objects.filter(consumer=consumer).exclude(provider_id__in=wanted).delete()
    Dependency.objects.bulk_create([Dependency(consumer=consumer, provider_id=pk) for pk in wanted - set(found)])
    return sorted(found.values()), sorted(document.spec.dependsOn)


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)


__all__ = ["Applied", "Difference", "Duration", "apply_documents", "parse_documents"]
