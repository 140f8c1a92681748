"""Everything of the room as YAML: integrations, schedules, escalation policies, routes. All or nothing, idempotent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from django.db import transaction
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug, user_by_username
from accounts.services import ensure_may
from catalog.selectors import service_by_slug
from core.parsing import InputRefusedError, LineIndex, parse_document, refuse
from incidents.data import IntegrationKind, Severity
from incidents.domain.durations import parse_duration
from incidents.domain.inbound_formats import GenericMapping
from incidents.domain.routing import parse_matcher
from incidents.models import EscalationPolicy, EscalationStep, Integration, Route, Schedule
from incidents.selectors.oncall import public_holidays
from incidents.services.integrations import NewToken, add_integration
from incidents.services.oncall import save_schedule
from incidents.services.status_pages import save_status_page
from incidents.services.targets import save_targets

ORDER = ("Integration", "Schedule", "EscalationPolicy", "Route", "IncidentTargets", "StatusPage")


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/London")
    return name


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _known_matcher(text: str) -> str:
    return str(parse_matcher(text))


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Zone = Annotated[str, AfterValidator(_known_zone)]
Duration = Annotated[
    timedelta, BeforeValidator(lambda value: parse_duration(value) if isinstance(value, str) else value)
]
MatcherText = Annotated[str, AfterValidator(_known_matcher)]
WallTime = Annotated[time, AfterValidator(lambda value: value.replace(tzinfo=None))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Metadata(_Strict):
    name: Slug
    title: str = Field(default="", max_length=120)


class _IntegrationSpec(_Strict):
    type: Literal[
        "alertmanager",
        "grafana",
        "pagerduty",
        "cloudevents",
        "standard-webhooks",
        "generic",
        "github",
        "gitlab",
        "heartbeat",
    ]
    mapping: GenericMapping = GenericMapping()
    signed: bool = False
    team: Slug | None = None
    every: Duration | None = None
    grace: Duration = timedelta(minutes=1)


class _RotationSpec(_Strict):
    unit: Literal["hour", "day", "week", "month"]
    length: int = Field(default=1, ge=1, le=366)
    anchor_date: date
    handoff_time: WallTime = time(9)
    basis: Literal["wall", "elapsed"] = "wall"


class _RestrictionSpec(_Strict):
    weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(min_length=1)
    from_: WallTime = Field(alias="from")
    to: WallTime


class _HolidaySpec(_Strict):
    country: str = Field(pattern=r"^[A-Z]{2}$")
    subdivision: str = Field(default="", max_length=8)
    mode: Literal["exclude", "only"] = "exclude"

    @model_validator(mode="after")
    def _known(self) -> "_HolidaySpec":
        try:
            public_holidays(self.country, self.subdivision, (2026,))
        except NotImplementedError:
            raise ValueError(f"the public holidays of {self.country} {self.subdivision} are not known") from None
        return self


class _LayerSpec(_Strict):
    name: Slug
    priority: int = Field(default=0, ge=0, le=100)
    time_zone: Zone | None = None
    rotation: _RotationSpec
    participants: list[str | list[str]] = Field(min_length=1)
    restrictions: list[_RestrictionSpec] = []
    holidays: _HolidaySpec | None = None


class _ScheduleSpec(_Strict):
    team: Slug | None = None
    time_zone: Zone = "UTC"
    layers: list[_LayerSpec] = Field(min_length=1)


class _LocalTimeSpec(_Strict):
    from_: WallTime = Field(alias="from")
    to: WallTime


class _WhenSpec(_Strict):
    severities: list[Severity] = []
    local_time: _LocalTimeSpec | None = None
    weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = []
    holidays: _HolidaySpec | None = None
    skip_absent: bool = False
    otherwise: Literal["skip", "wait"] = "skip"


class _StepSpec(_Strict):
    schedule: Slug | None = None
    user: str | None = None
    wait: Duration = timedelta(minutes=5)
    round_robin: bool = False
    when: _WhenSpec | None = None


class _PolicySpec(_Strict):
    team: Slug | None = None
    repeat: int = Field(default=1, ge=1, le=20)
    steps: list[_StepSpec] = Field(min_length=1, max_length=20)


class _RouteSpec(_Strict):
    position: int = Field(ge=0, le=100_000)
    match: list[MatcherText] = []
    service: Slug | None = None
    service_label: str = "service"
    severity: Severity = Severity.SEV3
    escalation_policy: Slug | None = None
    runbook: str = Field(default="", max_length=120)
    opens_incident: bool = True
    quiet_period: Duration | None = timedelta(minutes=5)
    continues: bool = Field(default=False, alias="continue")
    hold_behind_providers: bool = False


class _CalendarSpec(_Strict):
    time_zone: Zone
    weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(min_length=1)
    from_: WallTime = Field(alias="from")
    to: WallTime
    holidays: _HolidaySpec | None = None

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> "_CalendarSpec":
        if self.to <= self.from_:
            raise ValueError("business hours end after they begin, on the same day")
        return self


class _TargetSpec(_Strict):
    acknowledge: Duration | None = None
    first_update: Duration | None = None
    update_every: Duration | None = None
    mitigate: Duration | None = None
    resolve: Duration | None = None
    review: Duration | None = None


class _TargetsSpec(_Strict):
    team: Slug | None = None
    calendar: _CalendarSpec | None = None
    pauses: list[Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]] = []
    severities: dict[Severity, _TargetSpec] = Field(min_length=1)


class _StatusPageSpec(_Strict):
    team: Slug | None = None
    intro: str = Field(default="", max_length=300)
    visibility: Literal["internal", "public"] = "internal"
    services: list[Slug] = []


class _Document(_Strict):
    apiVersion: Literal["assay/v1"]  # noqa: N815 the key as it stands in the file
    metadata: _Metadata


class IntegrationDocument(_Document):
    """A sender of alerts."""

    kind: Literal["Integration"]
    spec: _IntegrationSpec


class ScheduleDocument(_Document):
    """Who is on call when."""

    kind: Literal["Schedule"]
    spec: _ScheduleSpec


class EscalationPolicyDocument(_Document):
    """Whom to page, in which order."""

    kind: Literal["EscalationPolicy"]
    spec: _PolicySpec


class RouteDocument(_Document):
    """Which alerts go where."""

    kind: Literal["Route"]
    spec: _RouteSpec


class TargetsDocument(_Document):
    """How long things may take."""

    kind: Literal["IncidentTargets"]
    spec: _TargetsSpec


class StatusPageDocument(_Document):
    """A page that tells others how services are."""

    kind: Literal["StatusPage"]
    spec: _StatusPageSpec


MODELS: dict[str, type[_Document]] = {
    "Integration": IntegrationDocument,
    "Schedule": ScheduleDocument,
    "EscalationPolicy": EscalationPolicyDocument,
    "Route": RouteDocument,
    "IncidentTargets": TargetsDocument,
    "StatusPage": StatusPageDocument,
}


@dataclass(frozen=True)
class Applied:
    """What was applied: `Schedule/inference-primary`. Tokens of new integrations are here once and nowhere else."""

    names: list[str] = field(default_factory=list)
    new_tokens: dict[str, NewToken] = field(default_factory=dict)


@dataclass(frozen=True)
class _Parsed:
    document: Any
    where: str


def apply_documents(
    *,
    principal: Principal,
    documents: Sequence[tuple[Any, LineIndex]],
    source: str = "documents",
    sources: Sequence[str] = (),
) -> Applied:
    """Apply documents as `load_yaml_documents` gave them, in the order that their references need.

    `sources` names the file of each document where they come from several. Raises InputRefusedError with all problems
    of form at once, or the first unknown reference; nothing is applied then. Raises PermissionDenied.
    """
    ensure_may(principal, Capability.ALERTING_EDIT)
    ensure_may(principal, Capability.ONCALL_EDIT)
    parsed: list[_Parsed] = []
    problems = []
    for position, (data, lines) in enumerate(documents):
        origin = sources[position] if sources else source
        try:
            parsed.append(_parse(data, lines, origin))
        except InputRefusedError as error:
            problems += error.problems
    if problems:
        raise InputRefusedError(problems)
    applied = Applied()
    appliers: dict[str, Callable[[Principal, Any, str, Applied], None]] = {
        "Integration": _apply_integration,
        "Schedule": _apply_schedule,
        "EscalationPolicy": _apply_policy,
        "Route": _apply_route,
        "IncidentTargets": _apply_targets,
        "StatusPage": _apply_status_page,
    }
    with transaction.atomic():
        for item in sorted(parsed, key=lambda item: ORDER.index(item.document.kind)):
            appliers[item.document.kind](principal, item.document, item.where, applied)
            applied.names.append(f"{item.document.kind}/{item.document.metadata.name}")
    return applied


def _parse(data: Any, lines: LineIndex, source: str) -> _Parsed:
    kind = data.get("kind") if isinstance(data, dict) else None
    model = MODELS.get(kind) if isinstance(kind, str) else None
    line = lines.line_of(("kind",)) or 1
    if model is None:
        raise refuse(f"{source}:{line} kind", found=kind, allowed=f"one of {', '.join(MODELS)} is allowed")
    return _Parsed(parse_document(model, data, source=source, lines=lines), f"{source}:{line}")


def _apply_integration(principal: Principal, document: IntegrationDocument, where: str, applied: Applied) -> None:
    name, spec = document.metadata.name, document.spec
    existing = Integration.objects.filter(slug=name).first()
    if existing is None:
        applied.new_tokens[name] = add_integration(
            principal=principal,
            slug=name,
            kind=IntegrationKind(spec.type),
            name=document.metadata.title,
            mapping=spec.mapping.model_dump(mode="json", exclude_defaults=True),
            signed=spec.signed,
            heartbeat_every=spec.every,
            heartbeat_grace=spec.grace,
            team_id=_team_id(spec.team, where),
        )
        return
    if existing.kind != spec.type:
        raise refuse(f"{where} spec.type", found=spec.type, allowed=f"{name} is of type {existing.kind} and stays so")
    existing.name = document.metadata.title or name
    existing.mapping = spec.mapping.model_dump(mode="json", exclude_defaults=True)
    existing.team_id = _team_id(spec.team, where)
    if existing.heartbeat_every is not None:
        existing.heartbeat_every = spec.every or existing.heartbeat_every
        existing.heartbeat_grace = spec.grace
    existing.save(update_fields=["name", "mapping", "team", "heartbeat_every", "heartbeat_grace"])


def _apply_schedule(principal: Principal, document: ScheduleDocument, where: str, _: Applied) -> None:
    layers = []
    for layer in document.spec.layers:
        groups = [[entry] if isinstance(entry, str) else entry for entry in layer.participants]
        for name in (name for group in groups for name in group):
            _user_id(name, where)
        layers.append(
            {
                **layer.model_dump(
                    mode="json",
                    by_alias=True,
                    exclude={"participants"} if layer.holidays else {"participants", "holidays"},
                ),
                "participants": groups,
            }
        )
    save_schedule(
        principal=principal,
        slug=document.metadata.name,
        name=document.metadata.title or document.metadata.name,
        time_zone=document.spec.time_zone,
        team_id=_team_id(document.spec.team, where),
        layers=layers,
    )


def _apply_policy(_: Principal, document: EscalationPolicyDocument, where: str, __: Applied) -> None:
    policy, _created = EscalationPolicy.objects.update_or_create(
        slug=document.metadata.name,
        defaults={
            "name": document.metadata.title or document.metadata.name,
            "team_id": _team_id(document.spec.team, where),
            "repeat": document.spec.repeat,
        },
    )
    policy.steps.all().delete()
    for position, step in enumerate(document.spec.steps):
        if (step.schedule is None) == (step.user is None):
            raise refuse(
                f"{where} spec.steps[{position}]", found="a step", allowed="either a schedule or a user is allowed"
            )
        schedule = Schedule.objects.filter(slug=step.schedule).first() if step.schedule else None
        if step.schedule and schedule is None:
            raise _unknown(where, "schedule", step.schedule)
        EscalationStep.objects.create(
            policy=policy,
            position=position,
            schedule=schedule,
            user_id=_user_id(step.user, where) if step.user else None,
            wait=step.wait,
            round_robin=step.round_robin,
            conditions=step.when.model_dump(mode="json", by_alias=True, exclude_defaults=True) if step.when else {},
        )


def _apply_route(_: Principal, document: RouteDocument, where: str, __: Applied) -> None:
    spec = document.spec
    service = service_by_slug(slug=spec.service) if spec.service else None
    if spec.service and service is None:
        raise _unknown(where, "service", spec.service)
    policy = EscalationPolicy.objects.filter(slug=spec.escalation_policy).first() if spec.escalation_policy else None
    if spec.escalation_policy and policy is None:
        raise _unknown(where, "escalation_policy", spec.escalation_policy)
    Route.objects.update_or_create(
        slug=document.metadata.name,
        defaults={
            "name": document.metadata.title or document.metadata.name,
            "position": spec.position,
            "matchers": spec.match,
            "service": service,
            "service_label": spec.service_label,
            "severity": spec.severity,
            "policy": policy,
            "runbook_slug": spec.runbook,
            "opens_incident": spec.opens_incident,
            "quiet_period": spec.quiet_period,
            "continues": spec.continues,
            "hold_behind_providers": spec.hold_behind_providers,
        },
    )


def _apply_targets(principal: Principal, document: TargetsDocument, where: str, _: Applied) -> None:
    spec = document.spec
    severities = {
        severity.value: {
            name: value.total_seconds() for name, value in targets.model_dump().items() if value is not None
        }
        for severity, targets in spec.severities.items()
    }
    calendar = spec.calendar.model_dump(mode="json", by_alias=True, exclude_none=True) if spec.calendar else None
    save_targets(
        principal=principal,
        slug=document.metadata.name,
        name=document.metadata.title or document.metadata.name,
        team_id=_team_id(spec.team, where),
        document={"severities": severities, "calendar": calendar, "pauses": spec.pauses},
    )


def _apply_status_page(principal: Principal, document: StatusPageDocument, where: str, _: Applied) -> None:
    services = []
    for slug in document.spec.services:
        service = service_by_slug(slug=slug)
        if service is None:
            raise _unknown(where, "service", slug)
        services.append(service.pk)
    save_status_page(
        principal=principal,
        slug=document.metadata.name,
        name=document.metadata.title or document.metadata.name,
        intro=document.spec.intro,
        visibility=document.spec.visibility,
        team_id=_team_id(document.spec.team, where),
        service_ids=services,
    )


def _team_id(slug: str | None, where: str) -> int | None:
    if slug is None:
        return None
    team = team_by_slug(slug=slug)
    if team is None:
        raise _unknown(where, "team", slug)
    return team.pk


def _user_id(username: str, where: str) -> int:
    user = user_by_username(username=username)
    if user is None:
        raise _unknown(where, "user", username)
    return user.pk


def _unknown(where: str, what: str, name: str) -> InputRefusedError:
    return refuse(f"{where} {what}", found=name, allowed=f"a {what} that exists is allowed")
