"""Chaos: how fast an emergency stop undoes, what guarding costs, how long a plan over many targets takes.

`.venv/bin/python bench/chaos.py [--rounds N]`: a site of its own in a temporary folder, real processes that are frozen,
real runners. Prints one figure a line, as JSON; the machine's load is printed with them: a stop shares the cores with
it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench._site import percentile, say, until  # noqa: E402

RUNS, FAULTS = 5, 10
WATCHED_RUNS = 20
TARGETS = 1000


@contextmanager
def sleepers(count: int, mark: str) -> Iterator[list[psutil.Process]]:
    """Run processes that do nothing; each is marked with `mark-number`, and all with the mark as their group."""
    started = [
        subprocess.Popen(["sleep", "3600"], env={"ASSAY_TARGET": f"{mark}-{number}", "ASSAY_GROUP": mark})
        for number in range(count)
    ]
    try:
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def apply_world(names: list[str], faults: dict[str, list[dict[str, Any]]]) -> None:
    """Make an environment, a service for each experiment, and the experiments."""
    from accounts.data import system_principal  # noqa: PLC0415 Django is ready only now
    from catalog.services import apply_documents as apply_catalog  # noqa: PLC0415
    from chaos.services import apply_documents  # noqa: PLC0415
    from core.parsing import LineIndex  # noqa: PLC0415

    site = system_principal("bench")
    head = {"apiVersion": "assay/v1"}
    catalog: list[Any] = [
        {**head, "kind": "Environment", "metadata": {"name": "lab", "title": "Lab"}, "spec": {"chaosAllowed": True}}
    ]
    documents: list[Any] = []
    for name in names:
        metadata = {"name": name, "title": name}
        catalog.append(
            {**head, "kind": "Service", "metadata": metadata, "spec": {"environment": "lab", "tier": 4}},
        )
        spec = {
            "environment": "lab",
            "services": [name],
            "hypothesis": "It survives.",
            "faults": faults[name],
            "hold": "10m",
            "approval": "production",
            "blast_radius": {"max_targets": 50},
            "steady_state": {
                "probes": [{"action": "process.frozen", "arguments": {"process": {"cmdline": "^sleep 3600$"}}}],
                "recover_within": "5s",
            },
        }
        documents.append({**head, "kind": "Experiment", "metadata": metadata, "spec": spec})
    apply_catalog(principal=site, documents=[(one, LineIndex({})) for one in catalog], source="bench")
    apply_documents(principal=site, documents=[(one, LineIndex({})) for one in documents], source="bench")


def stop_all(rounds: int) -> list[float]:
    """Return, for each round, the seconds from the stop to the last undo of 50 faults of 5 runs."""
    from accounts.data import system_principal  # noqa: PLC0415
    from chaos.data import FaultState, RunState  # noqa: PLC0415
    from chaos.models import ChaosRun, Experiment, Fault  # noqa: PLC0415
    from chaos.services import request_run, stop_all_runs  # noqa: PLC0415

    site, took = system_principal("bench"), []
    names = [f"stop-{number}" for number in range(RUNS)]
    with sleepers(RUNS * FAULTS, "stop") as targets:
        faults = {
            name: [
                {
                    "action": "process.stop",
                    "arguments": {"process": {"environ": {"ASSAY_TARGET": f"stop-{number * FAULTS + position}"}}},
                    "ttl": "10m",
                }
                for position in range(FAULTS)
            ]
            for number, name in enumerate(names)
        }
        apply_world(names, faults)
        for _ in range(rounds):
            runs = [request_run(principal=site, experiment=Experiment.objects.get(slug=name)) for name in names]
            runners = [
                subprocess.Popen([sys.executable, "manage.py", "chaos_runner", run.reference], cwd=ROOT) for run in runs
            ]
            until(
                lambda: Fault.objects.filter(state=FaultState.ACTIVE).count() == RUNS * FAULTS,
                seconds=300,
                what="50 active faults",
            )
            time.sleep(1.5)  # the runners hold their faults now
            started = time.perf_counter()
            stop_all_runs(principal=site, reason="bench")
            left = list(targets)
            while left:
                left = [one for one in left if one.status() == psutil.STATUS_STOPPED]
                if time.perf_counter() - started > 60:
                    raise RuntimeError(f"{len(left)} faults are still there after a minute")
            took.append(time.perf_counter() - started)
            for runner in runners:
                runner.wait(60)
            assert not ChaosRun.objects.exclude(state=RunState.FINISHED).exists()
    return took


def watch_cost(turns: int) -> float:
    """Return the share of a core that asking the guards of 20 runs every second takes."""
    from accounts.data import system_principal  # noqa: PLC0415
    from chaos.data import RunState  # noqa: PLC0415
    from chaos.models import ChaosRun, Experiment  # noqa: PLC0415
    from chaos.services import request_run, watch_runs  # noqa: PLC0415
    from core.clock import database_now  # noqa: PLC0415

    names = [f"watch-{number}" for number in range(WATCHED_RUNS)]
    with sleepers(WATCHED_RUNS, "watch"):
        faults = {
            name: [
                {
                    "action": "process.stop",
                    "arguments": {"process": {"environ": {"ASSAY_TARGET": name}}},
                    "ttl": "10m",
                }
            ]
            for name in names
        }
        apply_world(names, faults)
        for name in names:
            request_run(principal=system_principal("bench"), experiment=Experiment.objects.get(slug=name))
        now = database_now()
        ChaosRun.objects.update(state=RunState.RUNNING, heartbeat_at=now, deadline_at=now + timedelta(hours=1))
        watch_runs()
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            for _ in range(turns):
                watch_runs()
            best = min(best, (time.process_time() - started) / turns)
        assert ChaosRun.objects.filter(state=RunState.RUNNING).count() == WATCHED_RUNS
        ChaosRun.objects.update(state=RunState.FINISHED)
    return best


def plan_time() -> tuple[float, int]:
    """Return the seconds that a plan takes whose selector means 1,000 processes, and how many it found."""
    from chaos.models import Experiment  # noqa: PLC0415
    from chaos.services import ask_guards, plan_run  # noqa: PLC0415

    with sleepers(TARGETS, "plan"):
        faults = {
            "plan": [
                {
                    "action": "process.stop",
                    "arguments": {"process": {"environ": {"ASSAY_GROUP": "plan"}}},
                    "ttl": "10m",
                }
            ]
        }
        apply_world(["plan"], faults)
        experiment = Experiment.objects.get(slug="plan")
        best, found = float("inf"), 0
        for _ in range(3):
            started = time.perf_counter()
            plan = plan_run(experiment=experiment)
            ask_guards(plan, requested_by="bench")
            best = min(best, time.perf_counter() - started)
            found = len(plan.target_names)
    return best, found


def main() -> None:
    """Make the site, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(
            ASSAY_STATE_DIR=folder, DATABASE_URL="", ASSAY_LOG_LEVEL="ERROR", DJANGO_SETTINGS_MODULE="config.settings"
        )
        import django  # noqa: PLC0415 the environment must be set first

        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        Path(folder, "log").mkdir(exist_ok=True)
        load = round(os.getloadavg()[0], 1)
        seconds, found = plan_time()
        say("chaos", "plan_and_guards_over_1000_targets", seconds, "s", targets=found, load=load)
        share = watch_cost(20)
        say("chaos", "guards_of_20_runs_each_second", 100 * share, "% of a core", load=load)
        took = stop_all(rounds)
        say("chaos", "stop_to_last_undo_p50", percentile(took, 0.5), "s", faults=RUNS * FAULTS, rounds=rounds)
        load = round(os.getloadavg()[0], 1)
        say("chaos", "stop_to_last_undo_p99", percentile(took, 0.99), "s", faults=RUNS * FAULTS, load=load)


if __name__ == "__main__":
    main()
