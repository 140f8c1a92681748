"""What a step costs beside its action, what waiting runs cost, how fast runbooks are linted. One JSON object a line.

    .venv/bin/python bench/runbooks.py [step] [waiting] [lint]
    tools/with-servers .venv/bin/python bench/runbooks.py        on PostgreSQL too

Step overhead is from before the claim of the run until the result of a step that does nothing is committed. Figures are
the best of three rounds, but for the linter's, which is one. SQLite runs in a temporary folder; PostgreSQL in a scratch
database of the server that DATABASE_URL names, and is left out where it names none.
"""

# ruff: noqa: PLC0415 Django is imported only once `scratch` has set the environment that its settings read

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

# This folder would hide the room `runbooks` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import django  # noqa: E402

from bench._site import percentile, say  # noqa: E402
from bench.ledger import scratch  # noqa: E402

BENCHES = ("step", "waiting", "lint")
ROUNDS = 3
STEPS = 100
WAITING = 200
RUNBOOKS = 1000
NOTHING = "---\nrunbook: nothing\ntitle: Nothing\n---\n```step id=act\naction: bench.nothing\ntimeout: 30s\n```\n"
ASKING = "---\nrunbook: asking\ntitle: Asking\n---\n```confirm id=sure\nask: Sure?\n```\n"


def calibrate() -> None:
    """A fixed loop: the machine's speed moves, so figures mean little without it."""
    started = time.perf_counter()
    total = 0
    for number in range(3_000_000):
        total += number & 7
    load = os.getloadavg()[0]
    say("runbooks", "calibration_loop", (time.perf_counter() - started) * 1000, "ms", load_average=round(load, 1))


def register_nothing() -> None:
    from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support
    from drivers.services import register_action

    class Nothing:
        name: ClassVar[str] = "bench.nothing"
        description: ClassVar[str] = "Does nothing."
        arguments: ClassVar[type[Arguments]] = Arguments
        risk: ClassVar[Risk] = Risk.CHANGE
        idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
        reversible: ClassVar[bool] = False

        def probe(self, arguments: Any) -> Support:  # noqa: ARG002 the protocol's name
            return Support(supported=True)

        def plan(self, arguments: Any) -> Plan:  # noqa: ARG002
            return Plan("Do nothing")

        def run(self, arguments: Any, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
            return ActionResult(ok=True)

        def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
            return ActionResult(ok=True)

        def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:  # noqa: ARG002
            return False

    register_action(Nothing())


def somebody() -> Any:
    from accounts.data import Role, system_principal
    from accounts.selectors import principal_for_user
    from accounts.services import create_user, grant_role

    site = system_principal("bench")
    user = create_user(principal=site, username="alice", password=None)
    grant_role(principal=site, user=user, role=Role.RESPONDER)
    return principal_for_user(user=user)


def start(person: Any, slug: str, key: str) -> None:
    from runbooks.services import start_run

    start_run(principal=person, runbook_slug=slug, inputs={}, trigger="bench", idempotency_key=key)


def bench_step(engine: str, person: Any) -> None:
    from core.work import drain
    from runbooks.services import running

    ended: list[float] = []
    act = vars(running)["act"]

    def timed(*arguments: Any) -> None:
        act(*arguments)
        ended.append(time.perf_counter())

    vars(running)["act"] = timed
    best: list[float] = []
    for turn in range(ROUNDS):
        took = []
        for number in range(STEPS):
            start(person, "nothing", f"step-{turn}-{number}")
            began = time.perf_counter()
            drain("runbooks.advance")
            took.append((ended[-1] - began) * 1000)
        if not best or percentile(took, 0.95) < percentile(best, 0.95):
            best = took
    vars(running)["act"] = act
    say("runbooks", f"step_overhead_p50_{engine}", percentile(best, 0.5), "ms", steps=STEPS)
    say("runbooks", f"step_overhead_p95_{engine}", percentile(best, 0.95), "ms", target=50)


def bench_waiting(engine: str, person: Any) -> None:
    from django.db.models import Sum

    from core.work import drain
    from runbooks.models import RunbookRun

    for number in range(WAITING):
        start(person, "asking", f"waiting-{number}")
    drain("runbooks.advance")
    waiting = RunbookRun.objects.filter(state="waiting")
    before = waiting.aggregate(Sum("fence"))["fence__sum"]
    times = []
    for _ in range(100):
        began = time.perf_counter()
        drain("runbooks.advance")
        times.append((time.perf_counter() - began) * 1000)
    claims = waiting.aggregate(Sum("fence"))["fence__sum"] - before
    held = waiting.exclude(lease_until=None).count()
    say("runbooks", f"waiting_claims_{engine}", claims, "claims", runs=waiting.count(), leases_held=held, target=0)
    say("runbooks", f"waiting_sweep_p95_{engine}", percentile(times, 0.95), "ms", runs=waiting.count())


def bench_lint() -> None:
    from runbooks.services import lint_documents, shipped_playbooks

    shipped = shipped_playbooks()
    documents = []
    for number in range(RUNBOOKS):
        name, text = shipped[number % len(shipped)]
        slug = name.removesuffix(".md")
        documents.append((f"{number}-{name}", text.replace(f"runbook: {slug}", f"runbook: {slug}-{number}", 1)))
    began = time.perf_counter()
    problems = lint_documents(documents)
    lines = sum(text.count("\n") for _, text in documents)
    took = time.perf_counter() - began
    say("runbooks", "lint_1000", took, "s", lines=lines, problems=len(problems), target=10)


def measure(engine: str, wanted: list[str]) -> None:
    django.setup()
    from accounts.data import system_principal
    from runbooks.services import apply_documents

    register_nothing()
    if "step" in wanted or "waiting" in wanted:
        documents = [("nothing.md", NOTHING), ("asking.md", ASKING)]
        apply_documents(principal=system_principal("bench"), documents=documents)
        person = somebody()
    if "step" in wanted:
        bench_step(engine, person)
    if "waiting" in wanted:
        bench_waiting(engine, person)
    if "lint" in wanted and engine == "sqlite":
        bench_lint()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}; all without any")
    parser.add_argument("--engine", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.benches) - set(BENCHES):
        parser.error(f"there is no bench {min(unknown)}; there are {', '.join(BENCHES)}")
    wanted = options.benches or list(BENCHES)
    if options.engine:
        measure(options.engine, wanted)
        return
    calibrate()
    server = os.environ.get("DATABASE_URL", "")
    for engine in ("sqlite", "postgresql") if server.startswith("postgres") else ("sqlite",):
        with scratch(engine, server):
            # The settings read the environment once: each engine has a process of its own.
            command = [sys.executable, str(Path(__file__).resolve()), *wanted, "--engine", engine]
            subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
