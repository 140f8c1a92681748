"""The catalog as YAML: what a file may say, and applying it whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from django.db import transaction
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug
from accounts.services import create_team, ensure_may, set_team_members
from catalog.models import Dependency, Environment, Region, Service
from core.parsing import InputRefusedError, LineIndex, Problem, parse_document, refuse
from ledger.data.access import AuditedAction
from ledger.services import record

SLUG = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Slug = Annotated[str, Field(pattern=SLUG)]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(value: object) -> object:
    """Turn `90s`, `15m`, `4h` or `1d` into a timedelta; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and value[:-1].isdigit() and value[-1:] in UNITS:
        return timedelta(seconds=int(value[:-1]) * UNITS[value[-1]])
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of a thing."""

    name: Slug
    title: str = ""
    description: str = ""


class TeamSpec(_Strict):
    """People who own services."""

    members: list[str] = []


class TeamDocument(_Strict):
    """`kind: Team`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Team"]
    metadata: Metadata
    spec: TeamSpec = TeamSpec()


class RegionSpec(_Strict):
    """Where data stays."""

    residency: str = ""


class RegionDocument(_Strict):
    """`kind: Region`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["Region"]
    metadata: Metadata
    spec: RegionSpec = RegionSpec()


class EnvironmentSpec(_Strict):
    """What a stage allows."""

    chaosAllowed: bool = False  # noqa: N815
    production: bool = False


class EnvironmentDocument(_Strict):
    """`kind: Environment`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["Environment"]
    metadata: Metadata
    spec: EnvironmentSpec = EnvironmentSpec()


class ServiceSpec(_Strict):
    """A service; `dependsOn` names the services that it needs."""

    team: Slug | None = None
    environment: Slug
    region: Slug | None = None
    tier: int = Field(default=3, ge=1, le=4)
    lifecycle: str = "production"
    rto: Duration | None = None
    rpo: Duration | None = None
    url: str = ""
    dependsOn: list[Slug] = []  # noqa: N815


class ServiceDocument(_Strict):
    """`kind: Service`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


Document = TeamDocument | RegionDocument | EnvironmentDocument | ServiceDocument
KINDS: dict[str, type[Document]] = {
    "Team": TeamDocument,
    "Region": RegionDocument,
    "Environment": EnvironmentDocument,
    "Service": ServiceDocument,
}


@dataclass(frozen=True)
class Applied:
    """What applying documents changed, as `Service gateway`."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def parse_documents(documents: Sequence[tuple[Any, LineIndex]], *, source: str) -> list[Document]:
    """Parse the catalog's kinds. Raises InputRefusedError with every problem of every document."""
    parsed: list[Document] = []
    problems: list[Problem] = []
    for number, (data, lines) in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} document {number}"
        kind = data.get("kind") if isinstance(data, dict) else None
        model = KINDS.get(kind) if isinstance(kind, str) else None
        if model is None:
            problems.append(
                Problem(where=f"{where} kind", found=str(kind), allowed=f"one of {', '.join(KINDS)} is allowed")
            )
            continue
        try:
            parsed.append(parse_document(model, data, source=where, lines=lines))
        except InputRefusedError as error:
            problems.extend(error.problems)
    if problems:
        raise InputRefusedError(problems)
    return parsed


@transaction.atomic
def apply_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "catalog", dry_run: bool = False
) -> Applied:
    """Create or update what the documents say, all or nothing; applying them again changes nothing.

    `documents` come from `core.parsing.load_yaml_documents`. With `dry_run` nothing is kept, and the answer says what
    would be. Raises InputRefusedError.
    """
    ensure_may(principal, Capability.CATALOG_EDIT)
    parsed = sorted(parse_documents(documents, source=source), key=lambda document: list(KINDS).index(document.kind))
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    for document in parsed:
        name = f"{document.kind} {document.metadata.name}"
        outcome[_apply(principal, document, source)].append(name)
    for document in parsed:
        if isinstance(document, ServiceDocument) and _set_dependencies(document, source):
            name = f"Service {document.metadata.name}"
            if name in outcome["unchanged"]:
                outcome["unchanged"].remove(name)
                outcome["changed"].append(name)
    for name in (*outcome["created"], *outcome["changed"]):
        record(
            AuditedAction(action="catalog.applied", target=name, after={"source": source[:200]}),
            actor=principal.reference,
            subject=name.lower().replace(" ", ":"),
        )
    if dry_run:
        transaction.set_rollback(True)
    return Applied(**{key: tuple(names) for key, names in outcome.items()})


def _apply(principal: Principal, document: Document, source: str) -> str:
    name, title = document.metadata.name, document.metadata.title or document.metadata.name
    if isinstance(document, TeamDocument):
        before = team_by_slug(slug=name)
        old = (before.name, set(before.members.values_list("username", flat=True))) if before else None
        team = create_team(principal=principal, slug=name, name=title)
        set_team_members(principal=principal, team=team, usernames=document.spec.members)
        return _outcome(old, (title, set(document.spec.members)))
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


def _save(model: type[Region | Environment | Service], slug: str, values: dict[str, Any]) -> str:
    thing = model.objects.filter(slug=slug).first()
    if thing is None:
        model.objects.create(slug=slug, **values)
        return "created"
    if all(getattr(thing, key) == value for key, value in values.items()):
        return "unchanged"
    model.objects.filter(pk=thing.pk).update(**values)
    return "changed"


def _find(model: type[Region | Environment], slug: str, where: str) -> int:
    thing = model.objects.filter(slug=slug).first()
    if thing is None:
        raise refuse(where, found=slug, allowed=f"the slug of a known {model.__name__.lower()} is allowed")
    return thing.pk


def _set_dependencies(document: ServiceDocument, source: str) -> bool:
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
    before = set(Dependency.objects.filter(consumer=consumer).values_list("provider_id", flat=True))
    if before == wanted:
        return False
    Dependency.objects.filter(consumer=consumer).exclude(provider_id__in=wanted).delete()
    Dependency.objects.bulk_create([Dependency(consumer=consumer, provider_id=pk) for pk in wanted - before])
    return True


def _outcome(old: object, new: object) -> str:
    if old is None:
        return "created"
    return "unchanged" if old == new else "changed"


__all__ = ["Applied", "Duration", "apply_documents", "parse_documents"]
