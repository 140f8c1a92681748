"""OSCAL catalogs and profiles (OSCAL 1.0 to 1.2, JSON) as a flat list of requirements.

Structure is validated as the OSCAL model states it: known keys only, tokens, UUIDs of version 4 or 5, unique ids. What
this site does not use (parameters, links, parts other than the statement) is carried as it is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

TOKEN = r"^[^\W\d][\w.\-]*$"  # noqa: S105 a pattern of the format
UUID = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[45][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
GROUPING_CLASSES = {"function", "category", "family", "group"}
MAX_DEPTH = 12

Token = Annotated[str, Field(pattern=TOKEN)]
Text = Annotated[str, Field(min_length=1)]


class _Oscal(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Property(_Oscal):
    """A property of a control or group."""

    name: Token
    value: Text
    uuid: str | None = None
    ns: str | None = None
    class_: str | None = Field(default=None, alias="class")
    group: str | None = None
    remarks: str | None = None


class Part(_Oscal):
    """A part of a control, as its statement."""

    name: Token
    id: str | None = None
    ns: str | None = None
    class_: str | None = Field(default=None, alias="class")
    title: str | None = None
    props: list[Property] = []
    prose: str | None = None
    parts: list["Part"] = []
    links: list[dict[str, Any]] = []


class OscalControl(_Oscal):
    """A control of a catalog."""

    id: Token
    title: Text
    class_: str | None = Field(default=None, alias="class")
    params: list[dict[str, Any]] = []
    props: list[Property] = []
    links: list[dict[str, Any]] = []
    parts: list[Part] = []
    controls: list["OscalControl"] = []


class OscalGroup(_Oscal):
    """A group of a catalog."""

    id: Token | None = None
    title: Text
    class_: str | None = Field(default=None, alias="class")
    params: list[dict[str, Any]] = []
    props: list[Property] = []
    links: list[dict[str, Any]] = []
    parts: list[Part] = []
    groups: list["OscalGroup"] = []
    controls: list[OscalControl] = []


class OscalMetadata(_Oscal):
    """What every OSCAL document says of itself."""

    title: Text
    last_modified: Text = Field(alias="last-modified")
    version: Text
    oscal_version: Text = Field(alias="oscal-version")
    published: str | None = None
    revisions: list[dict[str, Any]] = []
    document_ids: list[dict[str, Any]] = Field(default=[], alias="document-ids")
    props: list[Property] = []
    links: list[dict[str, Any]] = []
    roles: list[dict[str, Any]] = []
    locations: list[dict[str, Any]] = []
    parties: list[dict[str, Any]] = []
    responsible_parties: list[dict[str, Any]] = Field(default=[], alias="responsible-parties")
    actions: list[dict[str, Any]] = []
    remarks: str | None = None


class OscalCatalog(_Oscal):
    """A catalog."""

    uuid: str = Field(pattern=UUID)
    metadata: OscalMetadata
    params: list[dict[str, Any]] = []
    controls: list[OscalControl] = []
    groups: list[OscalGroup] = []
    back_matter: dict[str, Any] = Field(default={}, alias="back-matter")


class Matching(_Oscal):
    """Controls by a glob pattern."""

    pattern: Text


class Selection(_Oscal):
    """Which controls a profile takes or leaves."""

    with_child_controls: str | None = Field(default=None, alias="with-child-controls", pattern="^(yes|no)$")
    with_ids: list[Token] = Field(default=[], alias="with-ids")
    matching: list[Matching] = []


class ProfileImport(_Oscal):
    """What a profile takes from a catalog."""

    href: Text
    include_all: dict[str, Any] | None = Field(default=None, alias="include-all")
    include_controls: list[Selection] = Field(default=[], alias="include-controls")
    exclude_controls: list[Selection] = Field(default=[], alias="exclude-controls")


class OscalProfile(_Oscal):
    """A profile."""

    uuid: str = Field(pattern=UUID)
    metadata: OscalMetadata
    imports: list[ProfileImport] = Field(min_length=1)
    merge: dict[str, Any] | None = None
    modify: dict[str, Any] | None = None
    back_matter: dict[str, Any] = Field(default={}, alias="back-matter")


class CatalogDocument(_Oscal):
    """A file that holds a catalog."""

    catalog: OscalCatalog
    schema_: str | None = Field(default=None, alias="$schema")


class ProfileDocument(_Oscal):
    """A file that holds a profile."""

    profile: OscalProfile
    schema_: str | None = Field(default=None, alias="$schema")


@dataclass(frozen=True)
class Imported:
    """One requirement of a catalog."""

    control_id: str
    ref: str
    title: str
    text: str
    category: str
    parent_id: str


class DuplicateIdError(ValueError):
    """A catalog names two things alike."""


def requirements_of(catalog: OscalCatalog) -> list[Imported]:
    """Return a catalog's requirements in its order, withdrawn ones left out. Raises DuplicateIdError."""
    found = list(_walk(catalog.groups, catalog.controls, category="", above="", parent_id=""))
    for name in ("control_id", "ref"):
        seen: set[str] = set()
        for one in found:
            value = getattr(one, name)
            if value in seen:
                raise DuplicateIdError(value)
            seen.add(value)
    return found


def selected(requirements: Sequence[Imported], imports: ProfileImport) -> tuple[list[Imported], list[str]]:
    """Return what a profile takes of a catalog, and the ids it names that the catalog lacks."""
    children: dict[str, list[str]] = {}
    for one in requirements:
        children.setdefault(one.parent_id, []).append(one.control_id)
    known = {one.control_id for one in requirements}
    everything = imports.include_all is not None or not imports.include_controls
    wanted = set(known) if everything else _named(imports.include_controls, known, children)
    left = _named(imports.exclude_controls, known, children)
    asked = {name for selection in imports.include_controls for name in selection.with_ids}
    return [one for one in requirements if one.control_id in wanted - left], sorted(asked - known)


def _named(selections: Iterable[Selection], known: set[str], children: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    for selection in selections:
        patterns = [_glob(one.pattern) for one in selection.matching]
        chosen = {name for name in known if name in selection.with_ids or any(p.fullmatch(name) for p in patterns)}
        if selection.with_child_controls == "yes":
            waiting = list(chosen)
            while waiting:
                below = children.get(waiting.pop(), [])
                waiting += [one for one in below if one not in chosen]
                chosen |= set(below)
        found |= chosen
    return found


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern))


def _walk(
    groups: Sequence[OscalGroup], controls: Sequence[OscalControl], *, category: str, above: str, parent_id: str
) -> Iterator[Imported]:
    for group in groups:
        inside = category or group.id or group.title
        yield from _walk(group.groups, group.controls, category=inside, above=group.title, parent_id="")
    for control in controls:
        if _withdrawn(control):
            continue
        if control.class_ not in GROUPING_CLASSES:
            ref = _ref(control)
            title = control.title if control.title not in {ref, control.id} else f"{above}: {ref}"
            yield Imported(control.id, ref, title, _prose(control.parts).strip(), category, parent_id)
        yield from _walk(
            [], control.controls, category=category or control.id, above=control.title, parent_id=control.id
        )


def _withdrawn(control: OscalControl) -> bool:
    return any(one.name == "status" and one.value.lower() == "withdrawn" for one in control.props)


def _ref(control: OscalControl) -> str:
    """Return the label that people use (`AC-2(1)`), where it is one word; else the id."""
    labels = [one for one in control.props if one.name == "label" and re.fullmatch(r"[\w.()\-]{1,40}", one.value)]
    plain = [one for one in labels if one.class_ is None] or [one for one in labels if one.class_ != "zero-padded"]
    return plain[0].value if plain else control.id


def _prose(parts: Sequence[Part]) -> str:
    lines = []
    for part in parts:
        if part.name in {"statement", "item"}:
            lines += [text for text in (part.prose or "", _prose(part.parts)) if text]
    return "\n".join(lines)
