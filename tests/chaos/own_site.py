"""A site of a test's own with processes to hurt, driven by its commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from core.identifiers import new_id
from tests.drivers.site_under_test import Site

ROOT = Path(__file__).resolve().parents[2]
CATALOG = """
apiVersion: assay/v1
kind: Environment
metadata: {name: lab, title: Lab}
spec: {chaosAllowed: true}
"""


@contextmanager
def sleepers(count: int) -> Iterator[list[tuple[str, psutil.Process]]]:
    """Processes that do nothing, each with a mark of its own."""
    started = []
    for _ in range(count):
        mark = new_id("mark")
        command = [sys.executable, "-c", "import time; time.sleep(3600)"]
        started.append((mark, subprocess.Popen(command, env={"ASSAY_TARGET": mark})))
    try:
        yield [(mark, psutil.Process(process.pid)) for mark, process in started]
    finally:
        for _, process in started:
            process.kill()
            process.wait(10)


@dataclass
class Lab:
    """A site with one environment where chaos is allowed; every experiment is on a service of its own."""

    site: Site
    witness: str
    process: subprocess.Popen[str]

    def tell(self, do: str, **more: Any) -> Any:
        """Have the site do something and return what came of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, "with": more}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, f"{do}: {answer['error']}"
        return answer["value"]

    def experiment(self, name: str, faults: list[dict[str, Any]], **spec: Any) -> None:
        """Write an experiment whose steady state is that the witness lives."""
        service = {
            "apiVersion": "assay/v1",
            "kind": "Service",
            "metadata": {"name": f"{name}-service", "title": name},
            "spec": {"environment": "lab", "tier": 4},
        }
        document = {
            "apiVersion": "assay/v1",
            "kind": "Experiment",
            "metadata": {"name": name, "title": name},
            "spec": {
                "environment": "lab",
                "services": [f"{name}-service"],
                "hypothesis": "It survives.",
                "faults": faults,
                "hold": "5s",
                "approval": "production",
                "blast_radius": {"max_targets": 50},
                "steady_state": {
                    "probes": [{"action": "process.frozen", "arguments": selector(self.witness)}],
                    "recover_within": "20s",
                },
                **spec,
            },
        }
        self.tell("apply", room="catalog", documents=[service])
        self.tell("apply", room="chaos", documents=[document])

    def start(self, name: str) -> str:
        """Ask for a run; without a worker nobody starts its runner."""
        return str(self.tell("start", name=name))

    def state(self, reference: str) -> dict[str, Any]:
        """Return what the site says of a run."""
        return dict(self.tell("state", reference=reference))

    def case(self, case: str, reference: str) -> psutil.Process:
        """Start the runner with something broken in it."""
        return psutil.Process(self.tell("case", case=case, reference=reference))


def selector(mark: str) -> dict[str, Any]:
    """Return the arguments that mean the process with a mark."""
    return {"process": {"environ": {"ASSAY_TARGET": mark}}}


@contextmanager
def lab(state: Path, *, database_url: str = "", more: dict[str, str] | None = None) -> Iterator[Lab]:
    """Make a site with its tables and an environment."""
    state.mkdir(parents=True, exist_ok=True)
    site = Site(state, database_url, more or {})
    site.make_tables()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.on_site", "serve"],
        cwd=ROOT,
        env=site.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with sleepers(1) as ((witness, _),):
            made = Lab(site, witness, process)
            made.tell("apply", room="catalog", documents=[yaml.safe_load(CATALOG)])
            yield made
    finally:
        process.kill()
        process.communicate(timeout=10)


def case_environment(folder: Path) -> dict[str, str]:
    """The environment of a case of the plain toolkit."""
    return {**os.environ, "CASE_FOLDER": str(folder)}
