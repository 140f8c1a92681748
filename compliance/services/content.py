"""Load frameworks and controls from data: idempotent, versioned, whole or not at all."""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from django.db import transaction
from django.db.models import Q
from pydantic import BaseModel, ConfigDict, Field

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from compliance.data import Strength
from compliance.domain.plugins import known_plugins
from compliance.domain.rules import Rule
from compliance.models import Check, Control, ControlRequirement, ControlVersion, Framework, Requirement, Vendor
from compliance.services.importing import set_content
from compliance.services.registers import declare_policy, save_vendor
from compliance.services.risks import RiskSpec, assess_risk
from core.clock import database_now
from core.parsing import InputRefusedError, LineIndex, Problem, load_yaml_documents, parse_document
from ledger.data import payload_schemas
from ledger.data.controls import ControlDeclared
from ledger.services import record

FILES = Path(__file__).resolve().parent.parent / "data_files"
SLUG = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Slug = Annotated[str, Field(pattern=SLUG)]
LOADER = system_principal("compliance-loader")

# slug, name, edition, and what a row of the mapping must start with.
FRAMEWORKS = (
    ("soc2", "SOC 2", "Trust Services Criteria 2017, focus 2022", ("SOC2|",)),
    ("iso27001", "ISO/IEC 27001", "2022, amended 2024", ("ISO27001-clause|", "ISO27001-A|")),
    ("nist-csf", "NIST CSF", "2.0, in part", ("other|CSF ",)),
    ("gdpr", "GDPR", "in part", ("other|GDPR ",)),
    ("ccpa", "CCPA", "in part", ("other|CCPA ", "other|CA Civ ")),
    ("iso42001", "ISO/IEC 42001", "2023, in part", ("other|42001 ",)),
)


@dataclass(frozen=True)
class Loaded:
    """What loading changed."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of a control."""

    name: Slug
    title: str = Field(min_length=3, max_length=160)


class Serves(_Strict):
    """A requirement that a control serves."""

    framework: Slug
    ref: str
    strength: Strength
    rationale: str = Field(min_length=3, max_length=300)


class CheckSpec(_Strict):
    """A check of a control."""

    name: Slug
    title: str = Field(min_length=3, max_length=160)
    strength: Literal["direct", "supporting"] = "direct"
    rule: Rule


class ControlSpec(_Strict):
    """What a control is for, who answers for it, and what judges it."""

    objective: str = Field(min_length=3)
    owner: str = Field(min_length=2, max_length=120)
    tier: int = Field(default=2, ge=1, le=3)
    frequency: str = Field(min_length=2, max_length=60)
    requirements: list[Serves] = Field(min_length=1)
    checks: list[CheckSpec] = []


class ControlDocument(_Strict):
    """`kind: Control`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Control"]
    metadata: Metadata
    spec: ControlSpec


class RiskDocument(_Strict):
    """`kind: Risk`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Risk"]
    metadata: Metadata
    spec: RiskSpec


class VendorSpec(_Strict):
    """Somebody outside on whom the organization relies, as declared."""

    tier: Vendor.Tier = Vendor.Tier.STANDARD
    owner: str = Field(min_length=2, max_length=120)
    provides: str = Field(min_length=3, max_length=300)
    data_shared: str = Field(default="", max_length=300)
    subprocessors: list[str] = []


class VendorDocument(_Strict):
    """`kind: Vendor`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Vendor"]
    metadata: Metadata
    spec: VendorSpec


class PolicySpec(_Strict):
    """A rule that people are asked to follow, as declared; its text is Markdown."""

    owner: str = Field(min_length=2, max_length=120)
    text: str = Field(min_length=20, max_length=200_000)
    days_to_read: int = Field(default=30, ge=1, le=365)


class PolicyDocument(_Strict):
    """`kind: Policy`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Policy"]
    metadata: Metadata
    spec: PolicySpec


Registered = RiskDocument | VendorDocument | PolicyDocument
REGISTERS: dict[str, type[Registered]] = {"Risk": RiskDocument, "Vendor": VendorDocument, "Policy": PolicyDocument}


def load_packaged(*, principal: Principal = LOADER) -> Loaded:
    """Load the frameworks and the starter controls that come with the site."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    with transaction.atomic():
        frameworks = _load_frameworks(principal)
        controls = apply_documents(principal=principal, documents=_starter_set(), source="controls", revive=False)
    return Loaded(
        frameworks.created + controls.created,
        frameworks.changed + controls.changed,
        frameworks.unchanged + controls.unchanged,
    )


@cache
def _starter_set() -> Sequence[tuple[Any, LineIndex]]:
    files = sorted((FILES / "controls").glob("*.yaml"))
    return [one for file in files for one in load_yaml_documents(file.read_bytes(), source=file.name)]


def load_packaged_if_changed() -> Loaded | None:
    """Load what comes with the site unless this very content is loaded already; None when it is."""
    digest = _requirements_digest()
    current = Framework.objects.filter(slug__in=[slug for slug, *_ in FRAMEWORKS]).filter(
        Q(content_sha256=digest) | Q(source=Framework.Source.IMPORTED)
    )
    known = current.count() == len(FRAMEWORKS)
    return None if known and Control.objects.exists() else load_packaged()


@transaction.atomic
def apply_documents(
    *,
    principal: Principal,
    documents: Sequence[tuple[Any, LineIndex]],
    source: str = "controls",
    dry_run: bool = False,
    revive: bool = True,
) -> Loaded:
    """Declare controls, risks, vendors and policies from YAML, all or nothing; the same again changes nothing.

    A control that was retired comes into force again, unless `revive` is False: then it is left as it is.
    Raises InputRefusedError with every problem.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    known = {(one.framework.slug, one.ref): one for one in Requirement.objects.select_related("framework")}
    parsed: list[ControlDocument] = []
    registered: list[Registered] = []
    problems: list[Problem] = []
    for number, (data, lines) in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} document {number}"
        try:
            if isinstance(data, dict) and (register := REGISTERS.get(str(data.get("kind")))):
                registered.append(parse_document(register, data, source=where, lines=lines))
                continue
            document = parse_document(ControlDocument, data, source=where, lines=lines)
        except InputRefusedError as error:
            problems.extend(error.problems)
            continue
        parsed.append(document)
        problems.extend(
            Problem(
                where=f"{where} spec.requirements",
                found=f"{one.framework} {one.ref}",
                allowed="a requirement of a loaded framework is allowed",
            )
            for one in document.spec.requirements
            if (one.framework, one.ref) not in known
        )
        problems.extend(rule_problems(document, where=where))
    if problems:
        raise InputRefusedError(problems)
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    for document in parsed:
        outcome[_declare(document, known, principal, revive=revive)].append(f"Control {document.metadata.name}")
    for one in registered:
        outcome[_register(one, principal)].append(f"{one.kind} {one.metadata.name}")
    if dry_run:
        transaction.set_rollback(True)
    return Loaded(**{key: tuple(names) for key, names in outcome.items()})


def rule_problems(document: ControlDocument, *, where: str) -> Iterator[Problem]:
    """Say which entries and fields of a control's rules no schema of the ledger knows."""
    for number, one in enumerate(document.spec.checks):
        yield from unknown_names(one.rule, where=f"{where} spec.checks[{number}].rule")


def unknown_names(rule: Rule, *, where: str) -> Iterator[Problem]:
    """Say which entry types and fields of a rule no schema of the ledger knows: it would never see anything."""
    schemas: dict[str, set[str]] = {}
    for (entry_type, _), schema in payload_schemas().items():
        schemas.setdefault(entry_type, set()).update(schema.model_fields)
    named = [*rule.entries, *(rule.alive.entries if rule.alive else [])]
    for name in named:
        if name not in schemas:
            yield Problem(f"{where}.entries", name, f"kinds of entry are allowed: {', '.join(sorted(schemas))}")
    if rule.python and rule.python not in known_plugins():
        allowed = f"installed plug-ins are allowed: {', '.join(known_plugins()) or 'there is none'}"
        yield Problem(f"{where}.python", rule.python, allowed)
    fields = set().union(*(schemas.get(name, set()) for name in rule.entries))
    for condition in (*rule.where, *rule.expect):
        others = (condition.at_least_field, condition.at_most_field, condition.differs_from, condition.after)
        for name in (condition.field, *(one for one in others if one)):
            if name not in {"entry.actor", "entry.subject"} and name.split(".")[0] not in fields:
                yield Problem(f"{where} {condition.field}", name, f"fields are allowed: {', '.join(sorted(fields))}")


def _register(document: Registered, principal: Principal) -> str:
    slug, title = document.metadata.name, document.metadata.title
    if isinstance(document, RiskDocument):
        return assess_risk(principal=principal, slug=slug, title=title, spec=document.spec)[1]
    if isinstance(document, PolicyDocument):
        return declare_policy(principal=principal, slug=slug, title=title, **document.spec.model_dump())[1]
    return save_vendor(principal=principal, slug=slug, name=title, **document.spec.model_dump())[1]


def _declare(
    document: ControlDocument, known: Mapping[tuple[str, str], Requirement], principal: Principal, *, revive: bool
) -> str:
    spec, slug = document.spec, document.metadata.name
    definition = document.model_dump(mode="json", exclude_defaults=True)
    control = Control.objects.filter(slug=slug).first()
    if control is not None and (not revive if control.retired_at else control.definition == definition):
        return "unchanged"
    now = database_now()
    outcome = "created" if control is None else "changed"
    if control is None:
        control = Control(slug=slug, version=0)
    control.title, control.objective, control.owner = document.metadata.title, spec.objective, spec.owner
    control.tier, control.frequency, control.definition = spec.tier, spec.frequency, definition
    control.version, control.declared_at, control.retired_at = control.version + 1, now, None
    control.retired_reason = ""
    control.save()
    ControlVersion.objects.create(
        control=control,
        number=control.version,
        definition=definition,
        declared_at=now,
        declared_by=principal.reference,
    )
    control.links.all().delete()
    ControlRequirement.objects.bulk_create(
        [
            ControlRequirement(
                control=control,
                requirement=known[(one.framework, one.ref)],
                strength=one.strength.value,
                rationale=one.rationale,
            )
            for one in spec.requirements
        ]
    )
    _set_checks(control, spec.checks)
    record(
        ControlDeclared(
            control=slug,
            control_version=control.version,
            objective=spec.objective,
            owner=spec.owner,
            frequency=spec.frequency,
            requirements=[f"{one.framework} {one.ref}" for one in spec.requirements],
            checks=[f"{one.name} ({one.rule.cadence.value})" for one in spec.checks],
        ),
        actor=principal.reference,
        subject=f"control:{slug}",
    )
    return outcome


def _set_checks(control: Control, wanted: Sequence[CheckSpec]) -> None:
    now = database_now()
    control.checks.exclude(slug__in=[one.name for one in wanted]).update(retired_at=now)
    for one in wanted:
        rule = one.rule.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        check = Check.objects.filter(control=control, slug=one.name).first()
        if check is None:
            check = Check(control=control, slug=one.name, started_at=now)
        elif check.rule != rule:
            check.version += 1
            check.last_run_at, check.checked_seq = None, 0
        check.title, check.strength, check.cadence = one.title, one.strength, one.rule.cadence.value
        check.rule, check.retired_at = rule, None
        check.save()


def _requirements_digest() -> str:
    return hashlib.sha256((FILES / "requirements.csv").read_bytes()).hexdigest()


def _load_frameworks(principal: Principal) -> Loaded:
    digest = _requirements_digest()
    with (FILES / "requirements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    for position, (slug, name, edition, prefixes) in enumerate(FRAMEWORKS):
        framework = Framework.objects.filter(slug=slug).first()
        imported = framework is not None and framework.source == Framework.Source.IMPORTED
        if framework is not None and (imported or framework.content_sha256 == digest):
            outcome["unchanged"].append(f"Framework {slug}")
            continue
        outcome["created" if framework is None else "changed"].append(f"Framework {slug}")
        mine = [row for row in rows if f"{row['framework']}|{row['ref']}".startswith(prefixes)]
        set_content(
            principal=principal,
            framework=framework or Framework(slug=slug, version=0, position=position),
            name=name,
            edition=edition,
            digest=digest,
            rows=[_content(slug, row) for row in mine],
            source=Framework.Source.PACKAGED,
        )
    return Loaded(**{key: tuple(names) for key, names in outcome.items()})


def _content(framework: str, row: Mapping[str, str]) -> dict[str, Any]:
    ref = short_ref(framework, row["ref"])
    return {
        "ref": ref,
        "label": row["own_label"],
        "category": category_of(framework, ref),
        "level": row["level"],
        "direct": row["direct"].split(),
        "supporting": row["supporting"].split(),
    }


def short_ref(framework: str, ref: str) -> str:
    """Return an identifier without the framework's name in front of it."""
    prefix = {"nist-csf": "CSF ", "gdpr": "GDPR ", "iso42001": "42001 "}.get(framework, "")
    return ref.removeprefix(prefix)


def category_of(framework: str, ref: str) -> str:
    """Return the group that an identifier belongs to: `CC7`, `PI`, `A.5`, `9`, `GV`."""
    if framework == "soc2":
        return ref.split(".", maxsplit=1)[0] if ref.startswith("CC") else ref.rstrip("0123456789.")
    if framework == "iso27001":
        return ".".join(ref.split(".")[:2]) if ref.startswith("A.") else ref.split(".", maxsplit=1)[0]
    return ref.split(".", maxsplit=1)[0].split("(", maxsplit=1)[0].split(" ", maxsplit=1)[0]
