"""What is asked before a recovery test starts. A test that somebody starts by hand is not held up by an incident.

What a calendar starts must not take people and machines from an incident, nor spend a budget that is thin.
"""

from datetime import datetime, timedelta

from chaos.data import GuardDecision, RunState, Verdict
from chaos.domain.recovery_documents import Kind, RecoveryTestSpec
from chaos.domain.windows import Window, window_at
from chaos.models import Blackout
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.selectors import engaged_kill_switch
from core.holding import site_is_held
from incidents.selectors import open_incidents
from reliability.data import BudgetState
from reliability.selectors import budget_statuses, slos_for_service


def ask_recovery_guards(
    test: RecoveryTest, spec: RecoveryTestSpec, *, now: datetime, scheduled: bool
) -> list[GuardDecision]:
    """Ask every guard whether a run may start."""
    decisions = [_kill_switch(), _held(), _resolution(test, spec), _clean(test), _alone(test)]
    if scheduled:
        decisions += [_blackout(test, now), _incidents(test), _budget(test, spec)]
    return decisions


def unmeasurable(spec: RecoveryTestSpec, *, rto: timedelta | None, rpo: timedelta | None) -> str:
    """Return which promise is below what the test can tell apart; empty when all are above it."""
    if spec.kind in {Kind.TABLETOP, Kind.BACKUP_INTEGRITY}:
        return ""
    for name, promise in (("RTO", rto), ("RPO", rpo)):
        if promise is not None and not spec.probe.cadence.can_measure(promise.total_seconds()):
            return (
                f"{name} {promise.total_seconds():g} s is unmeasurable: the resolution is "
                f"{spec.probe.cadence.resolution:g} s (cadence and timeout)"
            )
    return ""


def _kill_switch() -> GuardDecision:
    switch = engaged_kill_switch()
    reason = f"the kill switch is engaged: {switch.reason}" if switch else "not engaged"
    return GuardDecision("kill switch", switch is None, reason)


def _held() -> GuardDecision:
    held = site_is_held()
    return GuardDecision("hold", not held, "the site was restored and is held" if held else "the site is not held")


def _resolution(test: RecoveryTest, spec: RecoveryTestSpec) -> GuardDecision:
    problem = unmeasurable(spec, rto=test.service.rto, rpo=test.service.rpo)
    return GuardDecision("resolution", not problem, problem or f"± {spec.probe.cadence.resolution:g} s")


def _clean(test: RecoveryTest) -> GuardDecision:
    dirty = test.runs.filter(verdict=Verdict.DIRTY, cleared_at__isnull=True).first()
    reason = f"{dirty} has left something behind; clear it with a reason first" if dirty else "nothing was left behind"
    return GuardDecision("clean", dirty is None, reason)


def _alone(test: RecoveryTest) -> GuardDecision:
    live = RecoveryTestRun.objects.filter(test=test).exclude(state=RunState.FINISHED).exists()
    return GuardDecision("alone", not live, "a run of this test is going on" if live else "no run is going on")


def _blackout(test: RecoveryTest, now: datetime) -> GuardDecision:
    for blackout in Blackout.objects.all():
        if blackout.environment_id not in {None, test.service.environment_id}:
            continue
        windows = [Window.model_validate(window) for window in blackout.windows]
        if (window := window_at(windows, now)) is not None:
            return GuardDecision("blackout", allowed=False, reason=f"{blackout}: {window}")
    return GuardDecision("blackout", allowed=True, reason="no blackout holds now")


def _incidents(test: RecoveryTest) -> GuardDecision:
    found = open_incidents(service_ids=[test.service_id])
    names = ", ".join(str(incident.reference) for incident in found)
    return GuardDecision("incidents", not names, f"open: {names}" if names else "none is open")


def _budget(test: RecoveryTest, spec: RecoveryTestSpec) -> GuardDecision:
    floor = spec.schedule.when_budget_left_percent if spec.schedule else None
    if floor is None:
        return GuardDecision("error budget", allowed=True, reason="none asked for")
    slos = list(slos_for_service(service_id=test.service_id))
    statuses = budget_statuses(slos)
    for slo in slos:
        status = statuses.get(slo.pk)
        if status is None or status.state is BudgetState.UNKNOWN:
            return GuardDecision("error budget", allowed=False, reason=f"{slo.slug}: not measured; no data means no")
        left = 100 * float(status.remaining.low) if status.remaining is not None else 100.0
        if left < floor:
            return GuardDecision("error budget", allowed=False, reason=f"{slo.slug}: {left:.1f} % left of {floor:g} %")
    return GuardDecision("error budget", allowed=bool(slos), reason=f"{len(slos)} SLOs have {floor:g} % left")
