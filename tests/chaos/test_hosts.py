"""Faults on other hosts: network namespaces with an agent each, cut off in mid-fault."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.identifiers import new_id
from drivers.services.commands import find_program
from tests.chaos.conftest import is_frozen, wait_for
from tests.chaos.own_site import Lab, selector, sleepers

pytestmark = [
    pytest.mark.long,
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0 or not find_program("ip"), reason="needs root and ip"),
]
ROOT = Path(__file__).resolve().parents[2]
DEAD_MAN_SECONDS = 4


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


@dataclass
class Host:
    """A network namespace joined to the site by one cable, with an agent that runs from its one file."""

    name: str
    cable: str
    file: Path
    configuration: Path
    agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.configuration.with_suffix(".log").open("ab")
        self.agent = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, str(self.file), "run", "--config", self.configuration],
            env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(self.file.parent / "cache")},
            cwd="/",
            stdout=log,
            stderr=log,
        )
        log.close()

    def cut(self) -> None:
        ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        ip("link", "set", self.cable, "up")

    def faults(self) -> list[Path]:
        return list((self.configuration.parent / "agent" / "faults").glob("*.json"))


@pytest.fixture(scope="module")
def host(site: Lab, lab_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    address = lab_address
    folder, unique = tmp_path_factory.mktemp("host"), new_id("n")[-8:]
    name, cable, inside = f"assayhost{unique}", f"ah{unique}", f"bh{unique}"
    file = folder / "assay-agent.pyz"
    site.site.ask("agent", "build", file)
    ip("netns", "add", name)
    processes: list[subprocess.Popen[Any]] = []
    try:
        ip("link", "add", cable, "type", "veth", "peer", "name", inside, "netns", name)
        ip("addr", "add", f"{address}/24", "dev", cable)
        ip("link", "set", cable, "up")
        ip("-n", name, "addr", "add", f"{address.removesuffix('.1')}.2/24", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        ip("-n", name, "link", "set", "lo", "up")
        port = 21_000 + os.getpid() % 9_000
        web = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", address, "--port", str(port),
             "--workers", "1", "--blocking-threads", "4", "--no-ws", "--log-level", "warning",
             "config.wsgi:application"],
            cwd=ROOT, env=site.site.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        processes.append(web)
        told = {"site": f"http://{address}:{port}", **site.tell("agent", name="gpu-1")}
        configuration = folder / "agent.json"
        configuration.write_text(
            json.dumps({**told, "state": str(folder / "agent"), "dead_man_seconds": DEAD_MAN_SECONDS})
        )
        made = Host(name, cable, file, configuration)
        made.start()
        wait_for(lambda: site.tell("heard", name="gpu-1"), seconds=90)
        yield made
        if made.agent is not None:
            made.agent.kill()
            made.agent.wait(10)
    finally:
        for process in processes:
            # With the worker that it has started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        ip("netns", "del", name)


def frozen_on(site: Lab, host: Host, name: str, mark: str, process: psutil.Process, *, case: str = "none") -> Any:
    """Start a run that freezes a process on the host, and wait until it is frozen."""
    arguments = {"on_host": "gpu-1", **selector(mark)}
    site.experiment(name, [{"action": "process.stop", "arguments": arguments, "ttl": "60s"}], hold="40s")
    reference = site.start(name)
    runner = site.case(case, reference)
    wait_for(lambda: is_frozen(process), seconds=60)
    assert host.faults()
    return reference, runner


def test_a_fault_on_another_host_is_planned_injected_seen_and_taken_back(site: Lab, host: Host) -> None:
    with sleepers(1) as ((mark, process),):
        reference, runner = frozen_on(site, host, "remote", mark, process)
        arguments = {"on_host": "gpu-1", **selector(mark)}
        assert site.tell("targets", action="process.stop", arguments=arguments) == [f"gpu-1/{mark}"]
        site.tell("stop", reference=reference, reason="enough")
        wait_for(lambda: not is_frozen(process), seconds=30)
        runner.wait(60)
    found = site.state(reference)
    assert (found["verdict"], found["reason"]) == ("aborted", "stopped by system:test: enough")
    assert not host.faults()


def test_an_agent_listens_on_nothing(host: Host) -> None:
    assert host.agent is not None
    family = [psutil.Process(host.agent.pid), *psutil.Process(host.agent.pid).children(recursive=True)]
    assert not [one for process in family for one in process.net_connections() if one.status == psutil.CONN_LISTEN]


def test_a_host_that_is_cut_off_in_mid_fault_takes_it_back_by_itself(site: Lab, host: Host) -> None:
    with sleepers(1) as ((mark, process),):
        reference, runner = frozen_on(site, host, "cut-off", mark, process, case="hosts-are-asked-shortly")
        host.cut()
        try:
            # Nobody can reach it: its own dead man's switch is all there is.
            wait_for(lambda: not is_frozen(process), seconds=DEAD_MAN_SECONDS + 20)
            site.tell("stop", reference=reference, reason="enough")
            runner.wait(120)
            # The site cannot see the host, and says so: not undone as far as anybody knows, and locked.
            assert site.state(reference)["verdict"] == "dirty"
            assert {one["certain"] for one in site.tell("remnants")} == {False}
        finally:
            host.mend()
        wait_for(lambda: not host.faults(), seconds=30)
        site.tell("tend")
        assert site.state(reference)["faults"][0]["state"] == "reverted"
        assert site.tell("remnants") == []


def test_an_agent_that_is_killed_in_mid_fault_leaves_nothing(site: Lab, host: Host) -> None:
    assert host.agent is not None
    with sleepers(1) as ((mark, process),):
        reference, runner = frozen_on(site, host, "agent-killed", mark, process)
        for one in [*psutil.Process(host.agent.pid).children(recursive=True), psutil.Process(host.agent.pid)]:
            if "watchdog" not in " ".join(one.cmdline()):
                one.kill()
        host.agent.wait(10)
        wait_for(lambda: not is_frozen(process), seconds=DEAD_MAN_SECONDS + 20)
        host.start()
        site.tell("stop", reference=reference, reason="enough")
        runner.wait(120)
        wait_for(lambda: not host.faults(), seconds=30)
