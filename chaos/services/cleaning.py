"""Whether anything is left of any fault, by looking at the targets and not at the database."""

from dataclasses import dataclass
from datetime import timedelta

from chaos.models import Fault
from chaos.selectors import live_runs
from core.clock import database_now
from drivers.services import action_is_active, agents_with_faults_left, remains, silent_agents

LOOK_BACK = timedelta(days=30)


@dataclass(frozen=True)
class Remnant:
    """Something of a fault that is there, or of which it cannot be told."""

    what: str
    where: str
    certain: bool


def verify_clean() -> list[Remnant]:
    """Look at every target of every fault of the last 30 days, and at what drivers find by themselves.

    Faults of runs that go on are left out: they are meant to be there.
    """
    found = []
    faults = Fault.objects.filter(intended_at__gt=database_now() - LOOK_BACK).select_related("run")
    for fault in faults.exclude(run__in=[run.pk for run in live_runs()]):
        active = action_is_active(fault.action, fault.arguments, fault.output)
        if active is not False:
            where = f"{', '.join(fault.targets)} (run {fault.run})"
            found.append(Remnant(fault.action, where, certain=active is True))
    found += [Remnant("not told by a host that is silent", text, certain=False) for text in silent_agents()]
    if not live_runs().exists():
        found += [
            Remnant("unknown to any run", text, certain=True) for text in (*remains(), *agents_with_faults_left())
        ]
    return found
