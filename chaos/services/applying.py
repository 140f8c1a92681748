"""What a file may say besides experiments: blackouts, lists of targets, game days, suites."""

from collections.abc import Callable, Mapping
from typing import Any

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.selectors import environment_ids, service_by_slug, services_by_slugs
from chaos.domain.documents import BlackoutDocument, TargetListDocument
from chaos.domain.program_documents import GameDayDocument, RetestPolicyDocument, SuiteDocument
from chaos.domain.schedules import next_turn
from chaos.models import Blackout, Experiment, TargetList
from chaos.program_models import GameDay, RetestPolicy, Suite
from core.clock import database_now
from core.parsing import LineIndex, parse_document, refuse
from ledger.data.access import AuditedAction
from ledger.services import record


def _blackout(principal: Principal, data: Any, lines: LineIndex, source: str) -> str:
    document = parse_document(BlackoutDocument, data, source=source, lines=lines)
    ensure_may(principal, Capability.CHAOS_EDIT)
    name, slug = document.metadata.name, document.spec.environment
    environment_id = _environment(slug, f"{source} {name}", or_all=True) if slug else None
    values = {
        "title": document.metadata.title,
        "environment_id": environment_id,
        "windows": data["spec"]["windows"],
    }
    same = Blackout.objects.filter(slug=name, **values).exists()
    Blackout.objects.update_or_create(slug=name, defaults=values)
    return "" if same else name


def _target_list(principal: Principal, data: Any, lines: LineIndex, source: str) -> str:
    document = parse_document(TargetListDocument, data, source=source, lines=lines)
    ensure_may(principal, Capability.CHAOS_EDIT)
    spec, name = document.spec, document.metadata.name
    environment_id = _environment(spec.environment, f"{source} {name}")
    values = {"title": document.metadata.title or name, "allow": spec.allow, "never": spec.never}
    if TargetList.objects.filter(environment_id=environment_id, **values).exists():
        return ""
    TargetList.objects.update_or_create(environment_id=environment_id, defaults=values)
    # What may be hurt is a safety setting: who widened it stays known.
    record(
        AuditedAction(action="chaos.target_list_changed", target=spec.environment, reason=", ".join(spec.allow)[:300]),
        actor=principal.reference,
        subject=f"environment:{spec.environment}",
    )
    return name


def _game_day(principal: Principal, data: Any, lines: LineIndex, source: str) -> str:
    document = parse_document(GameDayDocument, data, source=source, lines=lines)
    spec, name = document.spec, document.metadata.name
    where = f"{source} {name}"
    services = {service.slug: service for service in services_by_slugs(spec.services)}
    if missing := [slug for slug in spec.services if slug not in services]:
        raise refuse(f"{where} spec.services", found=missing[0], allowed="slugs of services of the catalog are allowed")
    for service in services.values():
        ensure_may(principal, Capability.CHAOS_EDIT, team_id=service.team_id)
    for step in spec.steps:
        if step.run is not None and not Experiment.objects.filter(slug=step.run).exists():
            raise refuse(f"{where} spec.steps", found=step.run, allowed="the name of an experiment")
    if GameDay.objects.filter(slug=name, definition=data).exists():
        return ""
    game_day, _ = GameDay.objects.update_or_create(
        slug=name,
        defaults={
            "title": document.metadata.title,
            "environment_id": _environment(spec.environment, where),
            "definition": data,
            "author": principal.reference,
        },
    )
    game_day.services.set(services.values())
    return name


def _suite(principal: Principal, data: Any, lines: LineIndex, source: str) -> str:
    document = parse_document(SuiteDocument, data, source=source, lines=lines)
    spec, name = document.spec, document.metadata.name
    service = service_by_slug(slug=spec.service)
    if service is None:
        raise refuse(f"{source} {name} spec.service", found=spec.service, allowed="the slug of a service")
    ensure_may(principal, Capability.CHAOS_EDIT, team_id=service.team_id)
    experiments = {one.slug: one for one in Experiment.objects.filter(slug__in=spec.experiments, services=service)}
    if missing := [slug for slug in spec.experiments if slug not in experiments]:
        raise refuse(f"{source} {name} spec.experiments", found=missing[0], allowed=f"an experiment on {spec.service}")
    if Suite.objects.filter(slug=name, definition=data).exists():
        return ""
    turn = next_turn(spec.schedule, after=database_now(), seed=name)
    suite, _ = Suite.objects.update_or_create(
        slug=name,
        defaults={
            "title": document.metadata.title,
            "service": service,
            "definition": data,
            "nominal_at": turn.nominal,
            "due_at": turn.due,
        },
    )
    suite.experiments.set(experiments.values())
    return name


def _retest_policy(principal: Principal, data: Any, lines: LineIndex, source: str) -> str:
    document = parse_document(RetestPolicyDocument, data, source=source, lines=lines)
    ensure_may(principal, Capability.CHAOS_EDIT)
    values = {"title": document.metadata.title, "definition": data["spec"]}
    if RetestPolicy.objects.filter(**values).exists():
        return ""
    RetestPolicy.objects.update_or_create(only=True, defaults=values)
    periods = ", ".join(f"tier {tier}: {period.days} days" for tier, period in document.spec.periods.items())
    record(
        AuditedAction(action="chaos.retest_policy_changed", target=document.metadata.name, reason=periods),
        actor=principal.reference,
        subject="chaos:retest-policy",
    )
    return document.metadata.name


def _environment(slug: str, where: str, *, or_all: bool = False) -> int:
    environment_id = environment_ids().get(slug)
    if environment_id is None:
        allowed = "the name of an environment" + (", or none for all" if or_all else "")
        raise refuse(f"{where} spec.environment", found=slug, allowed=allowed)
    return environment_id


# Each returns the name of what changed, or an empty text.
OTHER_KINDS: Mapping[str, Callable[[Principal, Any, LineIndex, str], str]] = {
    "Blackout": _blackout,
    "TargetList": _target_list,
    "GameDay": _game_day,
    "Suite": _suite,
    "RetestPolicy": _retest_policy,
}
