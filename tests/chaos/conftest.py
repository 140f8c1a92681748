import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import psutil
import pytest
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from catalog.models import Environment
from catalog.services import apply_documents as apply_catalog
from chaos.data import RunState
from chaos.models import ChaosRun, Experiment, Fault
from chaos.services import apply_documents as apply_experiments
from chaos.services import approve_plan, request_run
from chaos.services.faults import inject
from core.identifiers import new_id
from core.parsing import load_yaml_documents
from demo.services import LOADER
from demo.services.loading import ORGANIZATION
from demo.services.people import load_people
from drivers.services import cancel_watchdog
from reliability.domain.budgets import Counts
from reliability.models import SLO
from reliability.selectors import minute_of
from reliability.services import apply_documents as apply_slos
from reliability.services.tallying import add_to_tallies
from tests.chaos.own_site import Lab, lab
from tests.reliability.conftest import CATALOG, TTFT


def load_chaos_world() -> None:
    """The demo's people, services, SLOs and experiments: what chaos needs of it, and no more."""
    load_people(principal=LOADER)
    steps: Sequence[tuple[str, Callable[..., Any]]] = (
        ("catalog.yaml", apply_catalog),
        ("slos.yaml", apply_slos),
        ("experiments.yaml", apply_experiments),
    )
    for name, apply in steps:
        text = (ORGANIZATION / name).read_text("utf-8").replace("@stack", "8100")
        apply(principal=LOADER, documents=load_yaml_documents(text, source=name), source=name)


SITE = system_principal("test")
EXPERIMENT = """
apiVersion: assay/v1
kind: Experiment
metadata: {{name: freeze, title: Freeze}}
spec:
  environment: demo
  services: [gateway]
  hypothesis: It survives.
  faults:
    - action: process.stop
      arguments: {{process: {{environ: {{ASSAY_TARGET: {mark}}}}}}}
      ttl: 30s
  hold: 10s
  blast_radius: {{max_targets: 1}}
  steady_state: {{slos: [gateway-ttft], recover_within: 10s}}
  error_budget: {{when_spent: approver-decides}}
"""


def wait_for(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.05)


@pytest.fixture
def mark() -> str:
    return new_id("mark").replace("_", "-")


@pytest.fixture
def sleeper(mark: str) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"],
        env={**os.environ, "ASSAY_TARGET": mark},
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.readline()
    yield psutil.Process(process.pid)
    process.kill()
    process.communicate(timeout=10)


@pytest.fixture
def experiment(db: None, sleeper: psutil.Process, mark: str) -> Experiment:
    apply_catalog(principal=SITE, documents=load_yaml_documents(CATALOG, source="c"))
    Environment.objects.update(chaos_allowed=True)
    apply_slos(principal=SITE, documents=load_yaml_documents(TTFT, source="s"))
    version = SLO.objects.get().versions.get()
    add_to_tallies({(version.tally_id, minute_of(timezone.now())): Counts(good=1000)})
    apply_experiments(principal=SITE, documents=load_yaml_documents(EXPERIMENT.format(mark=mark), source="e"))
    return Experiment.objects.get()


def count(*, good: int = 0, bad: int = 0) -> None:
    """Count events of the only SLO in this minute, on top of the 1000 good ones."""
    version = SLO.objects.get().versions.get()
    add_to_tallies({(version.tally_id, minute_of(timezone.now())): Counts(good=good, bad=bad)})


def person(username: str, *roles: Role) -> Principal:
    user = create_user(principal=SITE, username=username, password=None)
    for role in roles:
        grant_role(principal=SITE, user=user, role=role)
    return principal_for_user(user=user)


def approved(experiment: Experiment) -> Principal:
    approve_plan(principal=person("bob", Role.APPROVER), experiment=experiment)
    return person("olga", Role.CHAOS_OPERATOR)


def running(experiment: Experiment, **changes: Any) -> ChaosRun:
    run = request_run(principal=approved(experiment), experiment=experiment)
    ChaosRun.objects.filter(pk=run.pk).update(
        state=RunState.RUNNING, started_at=timezone.now(), heartbeat_at=timezone.now(), **changes
    )
    run.refresh_from_db()
    return run


def freeze(run: ChaosRun, *, ttl: timedelta = timedelta(seconds=60)) -> Fault:
    fault = run.revision.definition["spec"]["faults"][0]
    return inject(run, position=0, action=fault["action"], arguments=fault["arguments"], ttl=ttl)


def is_frozen(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


@pytest.fixture(scope="session")
def lab_address() -> str:
    """The address that hosts of a test reach the site by."""
    return f"10.214.{os.getpid() % 200 + 20}.1"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, lab_address: str) -> Iterator[Lab]:
    """A site of the tests' own, in a process of its own."""
    with lab(tmp_path_factory.mktemp("lab"), more={"ASSAY_ALLOWED_HOSTS": f"{lab_address},127.0.0.1"}) as made:
        yield made


@pytest.fixture(autouse=True)
def no_watchdog_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "db" in request.fixturenames:
        with contextlib.suppress(Exception):
            for fault in Fault.objects.all():
                cancel_watchdog(fault.output.get("watchdog", {}))
