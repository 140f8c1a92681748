"""Definitions of SLOs taking effect and being retired."""

import hashlib
from datetime import datetime
from typing import Any

import orjson

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from ledger.data.slo import DataSourceDeclared, SloDeclared, SloRetired
from ledger.services import record
from reliability.domain.objectives import Method
from reliability.models import SLO, Collection, LocationProbe, Probe, SLOVersion
from reliability.services.collecting import start_collecting
from reliability.services.openslo import SLODocument
from reliability.services.otlp_rules import rules_changed
from reliability.services.probe_requests import address_of
from reliability.services.probing import start_probing
from reliability.services.resolving import Counted, Resolved


def put_in_force(*, principal: Principal, document: SLODocument, service: Any, data: Any, resolved: Resolved) -> str:
    """Let a definition take effect, in the caller's transaction; returns `created`, `changed` or `unchanged`."""
    name = document.metadata.name
    labels = {
        key: value if isinstance(value, str) else ", ".join(value) for key, value in document.metadata.labels.items()
    }
    slo, _ = SLO.objects.update_or_create(
        slug=name,
        defaults={
            "name": document.metadata.displayName or name,
            "description": document.spec.description,
            "service": service,
            "labels": labels,
        },
    )
    digest = hashlib.sha256(orjson.dumps([data, resolved.as_json()], option=orjson.OPT_SORT_KEYS)).hexdigest()
    in_force = _in_force(slo)
    if in_force is not None and in_force.definition_sha256 == digest:
        return "unchanged"
    now = database_now()
    parts_go_on = _put_parts_in_force(principal, slo, resolved, now)
    version = _new_version(
        principal, slo, in_force, resolved.counted, resolved, data=data, digest=digest, now=now, goes_on=parts_go_on
    )
    record(
        SloDeclared(
            slo=name,
            service=service.slug,
            definition_version=version.number,
            definition_sha256=digest,
            target=str(version.target),
            window_seconds=int(version.window.length.total_seconds()),
            budgeting_method=version.method,
        ),
        actor=principal.reference,
        subject=f"slo:{name}",
    )
    return "created" if in_force is None else "changed"


def retire(*, principal: Principal, version: SLOVersion) -> None:
    """End an SLO's definition and its parts'; the counts stay. `version.slo.service` is loaded."""
    ensure_may(principal, Capability.SLO_EDIT, team_id=version.slo.service.team_id)
    now = database_now()
    _stop_parts(version.slo, now, keep=())
    SLOVersion.objects.filter(pk=version.pk).update(retired_at=now)
    rules_changed()
    _stop_reading(version)
    record(
        SloRetired(slo=version.slo.slug, service=version.slo.service.slug, definition_version=version.number),
        actor=principal.reference,
        subject=f"slo:{version.slo.slug}",
    )


def _in_force(slo: SLO) -> SLOVersion | None:
    found = SLOVersion.objects.select_for_update(of=("self",)).filter(slo=slo, retired_at__isnull=True)
    return found.select_related("counts_with").first()


def _put_parts_in_force(principal: Principal, slo: SLO, resolved: Resolved, now: datetime) -> bool:
    """Count what the components of a composite SLO need; False when any of them begins anew."""
    _stop_parts(slo, now, keep=tuple(one.part for one in resolved.objectives if one.part))
    goes_on = True
    for objective, counted in zip(resolved.objectives, resolved.parts, strict=False):
        part, _ = SLO.objects.update_or_create(
            slug=objective.part,
            defaults={
                "name": f"{slo.name}: {objective.name or objective.part}"[:200],
                "service": slo.service,
                "part_of": slo,
            },
        )
        known = _in_force(part)
        content = [counted.indicator, objective.as_json(), resolved.windows, resolved.method]
        digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
        if known is not None and known.definition_sha256 == digest:
            continue
        alone = Resolved(counted, (objective,), resolved.windows, resolved.method, (), resolved.exclusion_rule)
        version = _new_version(principal, part, known, counted, alone, data={}, digest=digest, now=now)
        goes_on = goes_on and version.counts_with_id is not None
    return goes_on


def _stop_parts(slo: SLO, now: datetime, *, keep: tuple[str, ...]) -> None:
    for version in SLOVersion.objects.filter(slo__part_of=slo, retired_at__isnull=True).exclude(slo__slug__in=keep):
        SLOVersion.objects.filter(pk=version.pk).update(retired_at=now)
        rules_changed()
        _stop_reading(version)


def _new_version(
    principal: Principal,
    slo: SLO,
    in_force: SLOVersion | None,
    counted: Counted,
    resolved: Resolved,
    *,
    data: Any,
    digest: str,
    now: datetime,
    goes_on: bool = True,
) -> SLOVersion:
    """Retire the definition in force and put the new one into its place."""
    same_events = (
        in_force is not None
        and goes_on
        and in_force.indicator == counted.indicator
        and in_force.source_type == counted.source_type
        and in_force.data_source_id == (counted.data_source.pk if counted.data_source else None)
    )
    if in_force is not None:
        SLOVersion.objects.filter(pk=in_force.pk).update(retired_at=now)
    last = SLOVersion.objects.filter(slo=slo).order_by("-number").first()
    window = resolved.windows[0]
    version = SLOVersion.objects.create(
        slo=slo,
        number=last.number + 1 if last else 1,
        definition=data,
        definition_sha256=digest,
        indicator=counted.indicator,
        source_type=counted.source_type,
        data_source=counted.data_source,
        counts_with_id=in_force.tally_id if in_force and same_events else None,
        target=resolved.target,
        window_days=max(resolved.window.length.days, 1),
        calendar=None if "minutes" in window else window,
        windows=list(resolved.windows),
        method=Method(resolved.method).value,
        objectives=[one.as_json() for one in resolved.objectives],
        exclusion_rule=resolved.exclusion_rule.value,
        tiers=[vars(tier) for tier in resolved.tiers],
        effective_from=now,
    )
    rules_changed()
    if not same_events and in_force is not None:
        _stop_reading(in_force)
    if not same_events and counted.source_type == "prometheus":
        start_collecting(version)
    if not same_events and counted.source_type == "probe":
        _start_probing(principal, version)
    return version


def _stop_reading(version: SLOVersion) -> None:
    for model in (Collection, Probe, LocationProbe):
        model.objects.filter(version_id=version.tally_id).delete()


def _start_probing(principal: Principal, version: SLOVersion) -> None:
    """Begin to probe. Whoever may administer the site allows the host in the outbound guard thereby."""
    allowed = principal.may(Capability.SITE_ADMIN)
    total = version.indicator["total"]
    start_probing(version, allow_private=allowed)
    record(
        DataSourceDeclared(
            source=f"probe of {version.slo.slug}",
            host=address_of(total["kind"], total["target"])[0],
            host_allowed=allowed,
        ),
        actor=principal.reference,
        subject=f"slo:{version.slo.slug}",
    )
