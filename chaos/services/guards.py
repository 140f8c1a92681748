"""The guards: each answers one question in words, before a run and, where that makes sense, all through it.

They fail closed: what cannot be told is a no.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from accounts.data import system_principal
from accounts.selectors import person_behind
from catalog.data import ActivityKind
from catalog.selectors import dependencies, open_activities
from chaos.data import SETTLED, GuardDecision, RunState
from chaos.domain.documents import ExperimentSpec
from chaos.domain.limits import BudgetRule, Radius, budget_problem, cap_problem, near, radius_problem, target_problem
from chaos.domain.windows import Window, window_at
from chaos.models import Blackout, ChaosRun, Experiment, Fault, PlanApproval, TargetList
from chaos.selectors import engaged_kill_switch
from chaos.services.planning import RunPlan, spec_of
from core.clock import database_now
from incidents.selectors import on_call_now, open_incidents
from reliability.data import BudgetState, BudgetStatus
from reliability.selectors import budget_status, slo_by_slug
from runbooks.selectors import runbook_by_slug

SCHEDULER = system_principal("chaos-schedule")
HELD_AGAINST = (ActivityKind.DEPLOYMENT, ActivityKind.MAINTENANCE, ActivityKind.DR_TEST)


@dataclass(frozen=True)
class Asked:
    """What the guards are asked about. `run` is the one that is going on; it does not count against itself."""

    experiment: Experiment
    spec: ExperimentSpec
    now: datetime
    run: ChaosRun | None = None
    scheduled: bool = False
    glance: "Glance | None" = None

    @cached_property
    def services(self) -> dict[str, int]:
        """The experiment's services, primary keys by slug."""
        return dict(self.experiment.services.values_list("slug", "pk"))

    @property
    def tier(self) -> int:
        """The most important tier among the services."""
        return min(self.experiment.services.values_list("tier", flat=True), default=1)


def ask_guards(plan: RunPlan, *, requested_by: str, run: ChaosRun | None = None) -> list[GuardDecision]:
    """Ask every guard whether a run may start."""
    asked = Asked(plan.revision.experiment, plan.spec, database_now(), run, requested_by == SCHEDULER.reference)
    return [
        *_always(asked),
        _capability(asked, plan),
        _targets(asked, plan),
        _blast_radius(asked, plan),
        _approval(asked, plan, requested_by),
        _locks(asked, plan),
        _windows(asked),
        _presence(asked),
        _budget(asked),
    ]


@dataclass(frozen=True)
class Glance:
    """What is the same for every run at one moment, so that it is asked once for all of them."""

    now: datetime
    kill_switch: GuardDecision
    blackouts: tuple[tuple[int | None, str], ...]
    services: frozenset[int]
    no_incident: bool
    no_change: bool


def glance_at(service_ids: Iterable[int]) -> Glance:
    """Look once for all runs on these services."""
    now, services = database_now(), frozenset(service_ids)
    return Glance(
        now=now,
        kill_switch=kill_switch_guard(),
        blackouts=tuple(_blackouts_now(now)),
        services=services,
        no_incident=not open_incidents(service_ids=list(services)),
        no_change=not open_activities(service_ids=services, kinds=HELD_AGAINST).exists(),
    )


def ask_guards_of(run: ChaosRun, *, glance: Glance | None = None) -> list[GuardDecision]:
    """Ask what must stay true while a run goes on. Its targets are not resolved again."""
    now = glance.now if glance else database_now()
    asked = Asked(run.revision.experiment, spec_of(run.revision), now, run, glance=glance)
    return [*_always(asked), _cap(asked)]


def _always(asked: Asked) -> list[GuardDecision]:
    questions: Iterable[Callable[[Asked], GuardDecision]] = (
        _environment,
        _kill_switch,
        _blackout,
        _incidents,
        _deployments,
    )
    return [question(asked) for question in questions]


def _no(guard: str, reason: str) -> GuardDecision:
    return GuardDecision(guard, allowed=False, reason=reason)


def _yes(guard: str, reason: str) -> GuardDecision:
    return GuardDecision(guard, allowed=True, reason=reason)


def _environment(asked: Asked) -> GuardDecision:
    environment = asked.experiment.environment
    said = f"{environment} allows chaos" if environment.chaos_allowed else f"{environment} does not allow chaos"
    return GuardDecision("environment", environment.chaos_allowed, said)


def kill_switch_guard() -> GuardDecision:
    """Say whether the kill switch lets a run start or go on."""
    switch = engaged_kill_switch()
    return GuardDecision("kill switch", switch is None, f"engaged: {switch.reason}" if switch else "not engaged")


def _kill_switch(asked: Asked) -> GuardDecision:
    return asked.glance.kill_switch if asked.glance else kill_switch_guard()


def _blackouts_now(now: datetime) -> Iterable[tuple[int | None, str]]:
    """Yield the blackouts that hold: the environment, or None for all, and the words."""
    for blackout in Blackout.objects.select_related("environment"):
        windows = [Window.model_validate(window) for window in blackout.windows]
        if (window := window_at(windows, now)) is not None:
            yield blackout.environment_id, f"{blackout}: {window}"


def _blackout(asked: Asked) -> GuardDecision:
    for environment_id, text in asked.glance.blackouts if asked.glance else _blackouts_now(asked.now):
        if environment_id in {None, asked.experiment.environment_id}:
            return _no("blackout", text)
    return _yes("blackout", "no blackout holds now")


def _incidents(asked: Asked) -> GuardDecision:
    own = asked.run.source_key if asked.run is not None else None
    if asked.glance is not None and asked.glance.no_incident:
        return _yes("incidents", "no incident is open that this run did not cause")
    found = open_incidents(service_ids=list(asked.services.values()))
    foreign = [incident for incident in found if own is None or incident.caused_by != own]
    if foreign:
        return _no("incidents", f"open: {', '.join(str(one.reference) for one in foreign)}")
    return _yes("incidents", "no incident is open that this run did not cause")


def _deployments(asked: Asked) -> GuardDecision:
    if asked.glance is not None and asked.glance.no_change:
        return _yes("changes", "no deployment, maintenance or recovery test is going on")
    going_on = open_activities(service_ids=asked.services.values(), kinds=HELD_AGAINST).first()
    if going_on is not None:
        return _no("changes", f"going on: {going_on} ({going_on.get_kind_display()})")
    return _yes("changes", "no deployment, maintenance or recovery test is going on")


def _capability(asked: Asked, plan: RunPlan) -> GuardDecision:
    for fault, support in zip(asked.spec.faults, plan.support, strict=True):
        if not support.supported:
            return _no("capability", f"{fault.action}: {support.reason}")
    return _yes("capability", "every fault is possible here")


def _targets(asked: Asked, plan: RunPlan) -> GuardDecision:
    listed = TargetList.objects.filter(environment=asked.experiment.environment).first()
    if listed is None:
        if asked.experiment.environment.production:
            return _no("allowed targets", "in production only what a TargetList names may be hurt, and there is none")
        return _yes("allowed targets", f"{asked.experiment.environment} has no TargetList")
    for target in sorted(plan.targets):
        if problem := target_problem(target, allow=listed.allow, never=listed.never):
            return _no("allowed targets", problem)
    return _yes("allowed targets", f"each is on {listed}")


def _blast_radius(asked: Asked, plan: RunPlan) -> GuardDecision:
    radius = Radius(**asked.spec.blast_radius.model_dump())
    for fault, resolved in zip(asked.spec.faults, plan.faults, strict=True):
        hurt = len(resolved.targets)
        problem = radius_problem(radius, hurt=hurt, matched=resolved.matched or hurt, tier=asked.tier)
        if problem:
            return _no("blast radius", f"{fault.action}: {problem}")
    return _yes("blast radius", f"{', '.join(plan.target_names)}: within the limits")


def _approval(asked: Asked, plan: RunPlan, requested_by: str) -> GuardDecision:
    one_way = any(fault.one_way for fault in asked.spec.faults)
    if asked.spec.approval == "production" and not asked.experiment.environment.production and not one_way:
        return _yes("approval", "not asked for: not in production, and every fault can be undone")
    given = PlanApproval.objects.filter(revision=plan.revision, plan_sha256=plan.sha256, expires_at__gt=asked.now)
    asker = person_behind(requested_by)
    approval = next((one for one in given if person_behind(one.approved_by) != asker), None)
    if approval is None:
        return _no("approval", "nobody else has approved this plan within the hour")
    return _yes("approval", f"approved by {approval.approved_by}")


def _locks(asked: Asked, plan: RunPlan) -> GuardDecision:
    held = Fault.objects.exclude(state__in=SETTLED).select_related("run")
    others = ChaosRun.objects.exclude(state=RunState.FINISHED).select_related("revision__experiment")
    if asked.run is not None:
        held, others = held.exclude(run=asked.run), others.exclude(pk=asked.run.pk)
    wanted = set(plan.target_names)
    for fault in held:
        if shared := wanted & set(fault.targets):
            return _no("target lock", f"{', '.join(sorted(shared))}: held by {fault.run} ({fault.state})")
    around = near(asked.services, dependencies())
    for other in others:
        if shared := around & set(other.revision.experiment.services.values_list("slug", flat=True)):
            return _no("target lock", f"{other} is going on at {', '.join(sorted(shared))}, which these services touch")
    return _yes("target lock", "no other run holds these targets, nor what they need or what needs them")


def _windows(asked: Asked) -> GuardDecision:
    allowed = asked.spec.allowed
    if not allowed:
        return _yes("allowed windows", "none asked for")
    window = window_at(allowed, asked.now)
    if window is None:
        return _no("allowed windows", f"now is outside {'; '.join(str(one) for one in allowed)}")
    return _yes("allowed windows", f"now is within {window}")


def _presence(asked: Asked) -> GuardDecision:
    wanted, said = asked.spec.require, []
    if asked.experiment.environment.production and not (wanted.on_call and wanted.runbook):
        return _no("presence", "in production an experiment names who is on call and a runbook (require)")
    if wanted.on_call:
        people = on_call_now(schedule_slug=wanted.on_call, at=asked.now)
        if not people:
            return _no("presence", f"nobody is on call in {wanted.on_call}")
        said.append(f"{', '.join(person.name for person in people)} on call")
    if wanted.runbook:
        if runbook_by_slug(slug=wanted.runbook) is None:
            return _no("presence", f"there is no runbook {wanted.runbook}")
        said.append(f"runbook {wanted.runbook}")
    return _yes("presence", ", ".join(said) or "nobody and nothing asked for")


def budgets_left(spec: ExperimentSpec) -> dict[str, float | None]:
    """Return the percent of each SLO's error budget that is left at least; None where it is not measured."""
    return {slug: _left(_status(slug)) for slug in spec.steady_state.slos}


def _status(slug: str) -> BudgetStatus | None:
    slo = slo_by_slug(slug=slug)
    return budget_status(slo=slo) if slo else None


def _left(status: BudgetStatus | None) -> float | None:
    if status is None or status.state is BudgetState.UNKNOWN:
        return None
    return 100 * float(status.remaining.low) if status.remaining is not None else 100.0


def _rule(asked: Asked) -> BudgetRule:
    budget, schedule = asked.spec.error_budget, asked.spec.schedule
    floors = [budget.at_least_percent, schedule.when_budget_left_percent if asked.scheduled and schedule else None]
    return BudgetRule(
        at_least=max((floor for floor in floors if floor is not None), default=None),
        reserve=budget.reserve_percent,
        cap=budget.cap_percent,
    )


def _budget(asked: Asked) -> GuardDecision:
    rule, said = _rule(asked), []
    for slug in asked.spec.steady_state.slos:
        status = _status(slug)
        left = _left(status)
        if status is None or left is None:
            return _no("error budget", f"{slug}: not measured; no data means no")
        if status.state is BudgetState.BREACHED and asked.spec.error_budget.when_spent == "refuse":
            return _no("error budget", f"{slug}: the budget is spent")
        if problem := budget_problem(rule, left=left, reserved_by_others=reserved_by_others(slug, asked.run)):
            return _no("error budget", f"{slug}: {problem}")
        said.append(f"{slug} {left:.1f} % left")
    expected = f"; {rule.reserve:g} % reserved for this run" if rule.reserve else ""
    return _yes("error budget", (", ".join(said) or "no SLO to spend") + expected)


def _cap(asked: Asked) -> GuardDecision:
    rule = _rule(asked)
    for slug in asked.spec.steady_state.slos if rule.cap is not None else ():
        left = _left(_status(slug))
        if left is None:
            return _no("error budget", f"{slug}: no longer measured; no data means stop")
        at_start = asked.run.budgets_at_start.get(slug) if asked.run is not None else None
        if problem := cap_problem(rule, left_at_start=at_start, left=left):
            return _no("error budget", f"{slug}: {problem}")
    return _yes("error budget", "within the cap" if rule.cap is not None else "no cap asked for")


def reserved_by_others(slug: str, run: ChaosRun | None) -> float:
    """Return how much of an SLO's budget other runs that go on have reserved, in percent of it."""
    others = ChaosRun.objects.exclude(state=RunState.FINISHED).select_related("revision")
    if run is not None:
        others = others.exclude(pk=run.pk)
    specs = [spec_of(other.revision) for other in others]
    return sum(spec.error_budget.reserve_percent for spec in specs if slug in spec.steady_state.slos)
