"""Frameworks from OSCAL, texts that stay private, and upgrades that keep history."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.domain.catalogs import (
    CatalogDocument,
    DuplicateIdError,
    Imported,
    ProfileDocument,
    requirements_of,
    selected,
)
from compliance.models import Framework, FrameworkVersion, Requirement, RequirementText
from core.clock import database_now
from core.parsing import load_json, parse_document, refuse
from ledger.data.controls import FrameworkLoaded
from ledger.services import record

MAX_BYTES = 40 * 1024 * 1024
MAX_REQUIREMENTS = 5_000
# Addresses of pages below /compliance/.
RESERVED = frozenset(
    {
        "access",
        "changes",
        "checks",
        "collectors",
        "declare",
        "due",
        "evidence",
        "exceptions",
        "exports",
        "findings",
        "policies",
        "readiness",
        "registers",
        "reviews",
        "risks",
        "scans",
        "vendors",
        "weaknesses",
    }
)
SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def import_oscal(
    *,
    principal: Principal,
    raw: bytes,
    slug: str,
    source: str,
    catalogs: Mapping[str, bytes] | None = None,
    name: str = "",
) -> FrameworkVersion | None:
    """Load an OSCAL catalog, or a profile with the catalogs it imports, as a framework; None when nothing changed.

    Titles come from the document; its texts go into the private overlay, which exports never include. Loading another
    edition under the same slug is an upgrade: what is gone is retired and keeps its record. Raises InputRefusedError.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not SLUG.fullmatch(slug) or slug in RESERVED:
        raise refuse("slug", found=slug, allowed="lower-case letters, digits and hyphens are allowed, no page's name")
    data = load_json(raw, source=source, max_bytes=MAX_BYTES)
    if isinstance(data, dict) and "profile" in data:
        title, edition, wanted = _profile(data, source, catalogs or {})
    else:
        title, edition, wanted = _catalog(data, source)
    if not 0 < len(wanted) <= MAX_REQUIREMENTS:
        raise refuse(source, found=f"{len(wanted)} requirements", allowed=f"1 to {MAX_REQUIREMENTS} are allowed")
    rows = [
        {"ref": one.ref, "label": one.title[:160], "category": one.category[:20], "control_id": one.control_id}
        for one in wanted
    ]
    digest = hashlib.sha256(raw).hexdigest()
    with transaction.atomic():
        framework = Framework.objects.filter(slug=slug).first()
        if framework is not None and framework.content_sha256 == digest:
            return None
        made = set_content(
            principal=principal,
            framework=framework or Framework(slug=slug, version=0, position=100),
            name=name or (framework.name if framework else title[:120]),
            edition=edition[:60],
            digest=digest,
            rows=rows,
            source=Framework.Source.IMPORTED,
        )
        texts = {one.ref: one.text for one in wanted if one.text}
        _set_texts(made.framework, texts, source=source)
    return made


def _catalog(data: Any, source: str) -> tuple[str, str, list[Imported]]:
    document = parse_document(CatalogDocument, data, source=source)
    try:
        found = requirements_of(document.catalog)
    except DuplicateIdError as error:
        raise refuse(source, found=f"the id {error} twice", allowed="each id may stand once") from None
    metadata = document.catalog.metadata
    return metadata.title, metadata.version, found


def _profile(data: Any, source: str, catalogs: Mapping[str, bytes]) -> tuple[str, str, list[Imported]]:
    document = parse_document(ProfileDocument, data, source=source)
    found: list[Imported] = []
    for number, one in enumerate(document.profile.imports):
        where = f"{source} profile.imports[{number}]"
        raw = catalogs.get(_file_of(one.href, document.profile.back_matter)) or (
            next(iter(catalogs.values())) if len(catalogs) == 1 else None
        )
        if raw is None:
            raise refuse(f"{where}.href", found=one.href, allowed="a catalog given with --catalog is allowed")
        _, _, known = _catalog(load_json(raw, source=one.href, max_bytes=MAX_BYTES), one.href)
        chosen, unknown = selected(known, one)
        if unknown:
            raise refuse(where, found=unknown[0], allowed="only controls of the catalog are allowed")
        found += chosen
    return document.profile.metadata.title, document.profile.metadata.version, found


def _file_of(href: str, back_matter: Mapping[str, Any]) -> str:
    """Return the file name that a reference means; `#uuid` points into the back matter."""
    if not href.startswith("#"):
        return Path(href).name
    for resource in back_matter.get("resources", []):
        if resource.get("uuid") == href[1:]:
            return next((Path(link["href"]).name for link in resource.get("rlinks", []) if link.get("href")), "")
    return ""


def set_content(
    *,
    principal: Principal,
    framework: Framework,
    name: str,
    edition: str,
    digest: str,
    rows: Sequence[Mapping[str, Any]],
    source: str,
) -> FrameworkVersion:
    """Make these rows the framework's requirements; what is gone is retired. A version says what changed."""
    live = framework.requirements.filter(retired_at__isnull=True) if framework.version else Requirement.objects.none()
    before = dict(live.values_list("ref", "label"))
    now = database_now()
    framework.name, framework.edition, framework.content_sha256 = name, edition, digest
    framework.source, framework.loaded_at = source, now
    framework.version += 1
    framework.save()
    known = {one.ref: one for one in framework.requirements.all()}
    fields = ("label", "category", "level", "direct", "supporting", "position", "control_id", "retired_at")
    taken = {one.slug: one.ref for one in known.values()}
    new: list[Requirement] = []
    kept: list[Requirement] = []
    for position, row in enumerate(rows):
        requirement = known.get(row["ref"])
        slug = requirement.slug if requirement else _free_slug(row["ref"], taken)
        filled = requirement or Requirement(framework=framework, ref=row["ref"], slug=slug)
        (new if requirement is None else kept).append(_filled(filled, row, position))
    Requirement.objects.bulk_create(new, batch_size=500)
    Requirement.objects.bulk_update(kept, fields, batch_size=200)
    refs = {row["ref"] for row in rows}
    framework.requirements.exclude(ref__in=refs).filter(retired_at__isnull=True).update(retired_at=now)
    version = FrameworkVersion.objects.create(
        framework=framework,
        number=framework.version,
        edition=edition,
        content_sha256=digest,
        loaded_at=now,
        loaded_by=principal.reference,
        added=sorted(refs - set(before)),
        retired=sorted(set(before) - refs),
        changed=sorted(row["ref"] for row in rows if row["ref"] in before and before[row["ref"]] != row["label"]),
        requirements=len(rows),
    )
    record(
        FrameworkLoaded(
            framework=framework.slug,
            framework_version=framework.version,
            edition=edition,
            content_sha256=digest,
            requirements=len(rows),
            added=len(version.added),
            retired=version.retired[:200],
        ),
        actor=principal.reference,
        subject=f"framework:{framework.slug}",
    )
    return version


def _free_slug(ref: str, taken: dict[str, str]) -> str:
    """Return an address for an identifier that no other of the framework has, and take it."""
    base = re.sub(r"[^a-z0-9]+", "-", ref.lower()).strip("-")[:55] or "requirement"
    slug, number = base, 2
    while slug in taken:
        slug, number = f"{base}-{number}", number + 1
    taken[slug] = ref
    return slug


def _filled(requirement: Requirement, row: Mapping[str, Any], position: int) -> Requirement:
    requirement.label, requirement.category = row["label"], row["category"]
    requirement.level = row.get("level", "manual")
    requirement.direct, requirement.supporting = row.get("direct", []), row.get("supporting", [])
    requirement.position, requirement.control_id, requirement.retired_at = position, row.get("control_id", ""), None
    return requirement


@transaction.atomic
def load_overlay(*, principal: Principal, framework: Framework, texts: Mapping[str, str], source: str) -> int:
    """Keep licensed texts for this site's own readers; no export ever holds them. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    known = set(framework.requirements.values_list("ref", flat=True))
    if unknown := sorted(set(texts) - known):
        raise refuse(source, found=unknown[0], allowed=f"identifiers of {framework.name} are allowed")
    return _set_texts(framework, texts, source=source)


def _set_texts(framework: Framework, texts: Mapping[str, str], *, source: str) -> int:
    keys = dict(framework.requirements.filter(ref__in=texts).values_list("ref", "pk"))
    RequirementText.objects.filter(requirement__in=keys.values()).delete()
    now = database_now()
    made = [
        RequirementText(requirement_id=keys[ref], text=text, source=source[:200], loaded_at=now)
        for ref, text in texts.items()
    ]
    RequirementText.objects.bulk_create(made, batch_size=500)
    return len(made)
