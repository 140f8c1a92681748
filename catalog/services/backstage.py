"""Backstage's `catalog-info.yaml`, read into Assay's own kinds.

The format is Backstage's descriptor format (`backstage.io/v1alpha1`, `v1beta1`): an envelope of apiVersion, kind,
metadata and spec that others may extend, so unknown keys are left alone here; what is read is checked. Group becomes a
team, Component and Resource become services; System, Domain, API, User and the like have no page of their own, and a
note says so. What Backstage has no word for comes from annotations under `assay.dev/`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from catalog.services.kinds import (
    SLUG,
    Document,
    Metadata,
    ServiceDocument,
    ServiceSpec,
    TeamDocument,
    TeamSpec,
    parse_duration,
)
from core.parsing import InputRefusedError, LineIndex, Problem, parse_document, refuse

API_VERSION = re.compile(r"backstage\.io/v1(alpha|beta)\d+$")
NAME = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
REFERENCE = re.compile(r"^(?:(?P<kind>[A-Za-z]+):)?(?:(?P<namespace>[A-Za-z0-9_.-]+)/)?(?P<name>[A-Za-z0-9_.-]+)$")
PREFIX = "assay.dev/"
ANNOTATIONS = ("tier", "environment", "region", "rto", "rpo")
SERVED = {"component", "resource"}
WITHOUT_PLACE = {"system", "domain", "api", "user", "location", "template"}


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class EntityMetadata(_Open):
    """Names of an entity."""

    name: str = Field(pattern=NAME)
    namespace: str = Field(default="default", pattern=NAME)
    title: str = Field(default="", max_length=200)
    description: str = ""
    annotations: dict[str, str] = {}


class Profile(_Open):
    """How a group is shown."""

    displayName: str = Field(default="", max_length=200)  # noqa: N815 the format's own spelling


class EntitySpec(_Open):
    """What is read of any entity."""

    owner: str = ""
    lifecycle: str = Field(default="production", max_length=40)
    dependsOn: list[str] = []  # noqa: N815
    dependencyOf: list[str] = []  # noqa: N815
    providesApis: list[str] = []  # noqa: N815
    consumesApis: list[str] = []  # noqa: N815
    members: list[str] = []
    profile: Profile = Profile()


class Entity(_Open):
    """One Backstage entity."""

    apiVersion: str  # noqa: N815
    kind: str
    metadata: EntityMetadata
    spec: EntitySpec = EntitySpec()

    @property
    def reference(self) -> str:
        """The full reference, in lower case as Backstage compares it."""
        return f"{self.kind}:{self.metadata.namespace}/{self.metadata.name}".lower()


@dataclass
class _Reader:
    """Translates entities that refer to each other."""

    environments: Sequence[str]
    source: str
    problems: list[Problem]
    notes: list[str]
    providers: Mapping[str, str]

    def team(self, entity: Entity) -> TeamDocument:
        if entity.spec.members:
            self.notes.append(
                f"{entity.reference}: its members are left to Assay, where accounts and their teams are granted"
            )
        title = entity.metadata.title or entity.spec.profile.displayName or entity.metadata.name
        return TeamDocument(
            apiVersion="assay/v1",
            kind="Team",
            metadata=Metadata(name=slug_of(entity.reference), title=title, description=entity.metadata.description),
            spec=TeamSpec(),
        )

    def service(self, entity: Entity, needs: Iterable[str]) -> ServiceDocument | None:
        where = f"{self.source} {entity.reference}"
        values: dict[str, Any] = {
            key: entity.metadata.annotations[PREFIX + key]
            for key in ANNOTATIONS
            if PREFIX + key in entity.metadata.annotations
        }
        for key in ("rto", "rpo"):
            if key in values:
                values[key] = parse_duration(values[key])
        if "environment" not in values:
            if len(self.environments) != 1:
                allowed = (
                    f"the annotation {PREFIX}environment is required, because there is not exactly one environment"
                )
                raise refuse(f"{where} metadata.annotations", found="none", allowed=allowed)
            values["environment"] = self.environments[0]
        for key in entity.metadata.annotations:
            if key.startswith(PREFIX) and key.removeprefix(PREFIX) not in ANNOTATIONS:
                allowed = "known are " + ", ".join(PREFIX + name for name in ANNOTATIONS)
                raise refuse(f"{where} metadata.annotations", found=key, allowed=allowed)
        values |= {
            "team": self._owner(entity),
            "lifecycle": entity.spec.lifecycle,
            "dependsOn": sorted(set(needs) - {slug_of(entity.reference)}),
        }
        try:
            spec = parse_document(ServiceSpec, values, source=where)
        except InputRefusedError as error:
            self.problems.extend(error.problems)
            return None
        return ServiceDocument(
            apiVersion="assay/v1",
            kind="Service",
            metadata=Metadata(
                name=slug_of(entity.reference),
                title=entity.metadata.title or entity.metadata.name,
                description=entity.metadata.description,
            ),
            spec=spec,
        )

    def needs(self, entity: Entity) -> set[str]:
        """Return the slugs of what an entity needs: what it depends on, and who provides the APIs that it consumes."""
        found = set()
        for text in entity.spec.dependsOn:
            reference = full_reference(text, entity, default_kind="")
            if reference.partition(":")[0] in SERVED:
                found.add(slug_of(reference))
            else:
                self.notes.append(f"{entity.reference}: needs {reference}, which is not a service")
        for text in entity.spec.consumesApis:
            reference = full_reference(text, entity, default_kind="api")
            if reference in self.providers:
                found.add(self.providers[reference])
            else:
                self.notes.append(f"{entity.reference}: consumes {reference}, which nothing in these files provides")
        return found

    def _owner(self, entity: Entity) -> str | None:
        if not entity.spec.owner:
            return None
        reference = full_reference(entity.spec.owner, entity, default_kind="group")
        if not reference.startswith("group:"):
            self.notes.append(f"{entity.reference}: is owned by {reference}; only a group owns a service here")
            return None
        return slug_of(reference)


def is_entity(data: object) -> bool:
    """Tell whether a document says that it is Backstage's."""
    return isinstance(data, dict) and bool(API_VERSION.match(str(data.get("apiVersion", ""))))


def parse_entity(data: object, *, source: str, lines: LineIndex) -> Entity:
    """Parse one entity. Raises InputRefusedError."""
    entity = parse_document(Entity, data, source=source, lines=lines)
    known = SERVED | WITHOUT_PLACE | {"group"}
    if entity.kind.lower() not in known:
        raise refuse(f"{source} kind", found=entity.kind, allowed=f"one of {', '.join(sorted(known))} is allowed")
    return entity


def full_reference(text: str, entity: Entity, *, default_kind: str) -> str:
    """Return `kind:namespace/name` in lower case for a reference as an entity writes it. Raises InputRefusedError."""
    found = REFERENCE.match(text)
    kind = (found["kind"] or default_kind) if found else ""
    if found is None or not kind:
        raise refuse(entity.reference, found=text, allowed="a reference as kind:namespace/name is allowed")
    return f"{kind}:{found['namespace'] or entity.metadata.namespace}/{found['name']}".lower()


def slug_of(reference: str) -> str:
    """Return the slug for a full reference; another namespace than the default one stands before the name.

    Raises InputRefusedError when the name is longer than a slug may be.
    """
    namespace, _, name = reference.partition(":")[2].partition("/")
    text = re.sub(r"[^a-z0-9]+", "-", (name if namespace == "default" else f"{namespace}-{name}").lower()).strip("-")
    if not re.match(SLUG, text):
        raise refuse(reference, found=text, allowed="at most 63 letters, digits and hyphens are allowed")
    return text


def translate(
    entities: Sequence[Entity], *, environments: Sequence[str], source: str
) -> tuple[list[Document], list[str]]:
    """Return Assay's documents for a set of entities, and notes on what was left out. Raises InputRefusedError."""
    provides = {
        full_reference(api, entity, default_kind="api"): slug_of(entity.reference)
        for entity in entities
        if entity.kind.lower() in SERVED
        for api in entity.spec.providesApis
    }
    reader = _Reader(environments, source, [], [], provides)
    served = [entity for entity in entities if entity.kind.lower() in SERVED]
    if taken := _doubled(slug_of(entity.reference) for entity in served):
        raise refuse(source, found=f"two entities named {taken}", allowed="a component and a resource need two names")
    needs = {entity.reference: reader.needs(entity) for entity in served}
    for entity in served:
        for text in entity.spec.dependencyOf:
            consumer = full_reference(text, entity, default_kind="")
            if consumer in needs:
                needs[consumer].add(slug_of(entity.reference))
            else:
                reader.notes.append(f"{entity.reference}: {consumer}, which needs it, is not in these files")
    documents: list[Document] = []
    for entity in entities:
        kind = entity.kind.lower()
        if kind == "group":
            documents.append(reader.team(entity))
        elif kind in SERVED:
            service = reader.service(entity, needs[entity.reference])
            documents += [service] if service else []
        else:
            reader.notes.append(f"{entity.reference}: left out; a {entity.kind} has no page of its own here")
    if reader.problems:
        raise InputRefusedError(reader.problems)
    return documents, reader.notes


def _doubled(slugs: Iterable[str]) -> str:
    seen: set[str] = set()
    for slug in slugs:
        if slug in seen:
            return slug
        seen.add(slug)
    return ""


__all__ = ["Entity", "is_entity", "parse_entity", "translate"]
