"""Pressure, limits, control groups, network namespaces and HAProxy: each on the real thing."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identifiers import new_id
from core.parsing import InputRefusedError
from drivers.services import (
    action_is_active,
    foresee_action,
    inject_action,
    plan_action,
    probe_action,
    remains,
    run_action,
    undo_action,
)
from drivers.services.commands import find_program
from drivers.services.haproxy import ServerState, share_of, weights_for
from tests.drivers.conftest import Server, wait_for

pytestmark = pytest.mark.integration
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not find_program(program), reason=f"{program} is not installed")


def inject(name: str, arguments: dict[str, Any], *, ttl: float = 60) -> dict[str, Any]:
    key = new_id("key")
    foreseen = foresee_action(name, arguments, idempotency_key=key, ttl=timedelta(seconds=ttl))
    result = inject_action(name, arguments, foreseen, idempotency_key=key)
    assert result.ok, result.error
    assert action_is_active(name, arguments, foreseen)  # what was written ahead is enough to look
    return foreseen


def take_back(name: str, arguments: dict[str, Any], output: dict[str, Any]) -> None:
    for _ in range(2):
        assert undo_action(name, arguments, output).ok
    assert action_is_active(name, arguments, output) is False


@pytest.fixture
def sleeper() -> Iterator[tuple[str, psutil.Process]]:
    mark = new_id("mark")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={"ASSAY_TARGET": mark})
    yield mark, psutil.Process(process.pid)
    process.kill()
    process.wait(10)


@needs("stress-ng")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pressure.cpu", {"workers": 1, "load_percent": 5}),
        ("pressure.memory", {"percent_of_free": 1}),
        ("pressure.disk", {"folder": "/tmp", "megabytes": 2}),
    ],
)
def test_pressure_is_there_and_gone_with_all_its_workers(name: str, arguments: dict[str, Any]) -> None:
    before = {one.pid for one in psutil.process_iter()}
    output = inject(name, arguments)
    assert any("process" in one for one in remains())
    take_back(name, arguments, output)
    wait_for(lambda: not [one for one in psutil.process_iter() if one.pid not in before and own(one)], seconds=30)


def own(process: psutil.Process) -> bool:
    try:
        pressing = process.name().startswith("stress-ng") and process.status() != psutil.STATUS_ZOMBIE
        return pressing and process.ppid() in {1, os.getpid()}
    except psutil.NoSuchProcess:
        return False


@needs("stress-ng")
def test_pressure_ends_by_itself() -> None:
    output = inject("pressure.cpu", {"workers": 1, "load_percent": 1}, ttl=2)
    wait_for(lambda: action_is_active("pressure.cpu", {}, output) is False, seconds=20)


@needs("stress-ng")
def test_a_disk_is_never_filled() -> None:
    free = shutil.disk_usage("/tmp").free // 1_000_000
    support = probe_action("pressure.disk", {"folder": "/tmp", "megabytes": min(free, 100_000)})
    if free <= 100_000:
        assert "more than half" in support.reason
    assert "no folder" in probe_action("pressure.disk", {"folder": "/nowhere", "megabytes": 1}).reason


def test_a_limit_on_open_files_is_felt_and_restored(sleeper: tuple[str, psutil.Process]) -> None:
    mark, process = sleeper
    before = process.rlimit(resource.RLIMIT_NOFILE)
    arguments = {"process": {"environ": {"ASSAY_TARGET": mark}}, "open_files": 5}
    output = inject("process.limit_files", arguments)
    assert process.rlimit(resource.RLIMIT_NOFILE) == (5, before[1])
    take_back("process.limit_files", arguments, output)
    assert process.rlimit(resource.RLIMIT_NOFILE) == before


@pytest.fixture
def cgroup() -> Iterator[str]:
    roots = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/freezer")]
    for root in roots:
        folder = root / new_id("assaytest")
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / "cgroup.freeze").exists() or (folder / "freezer.state").exists():
            yield str(folder.relative_to("/sys/fs/cgroup"))
            folder.rmdir()
            return
        folder.rmdir()
    pytest.skip("no control group can be made here")


@needs_root
def test_a_control_group_freezes_and_goes_on(cgroup: str, sleeper: tuple[str, psutil.Process]) -> None:
    arguments = {"path": cgroup}
    procs = Path("/sys/fs/cgroup") / cgroup / "cgroup.procs"
    procs.write_text(str(sleeper[1].pid))
    assert "Freeze 1 processes" in plan_action("process.freeze_cgroup", arguments).summary
    output = inject("process.freeze_cgroup", arguments)
    take_back("process.freeze_cgroup", arguments, output)
    sleeper[1].kill()
    wait_for(lambda: not procs.read_text().split())


@needs_root
def test_the_group_of_this_process_is_never_frozen() -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((line.partition("::")[2].strip("/") for line in lines if line.startswith("0::")), "")
    base = "unified" if Path("/sys/fs/cgroup/unified").is_dir() else ""
    own_path = "/".join(part for part in (base, path) if part) or "unified"
    assert not probe_action("process.freeze_cgroup", {"path": own_path}).supported
    assert "down only" in probe_action("process.freeze_cgroup", {"path": "a/../unified"}).reason


@pytest.fixture
def namespace() -> Iterator[tuple[str, str]]:
    """A network namespace with a server in it, joined to this one by a pair of interfaces; and its address."""
    number = os.getpid() % 200 + 20
    unique = new_id("n")[-8:]
    name, outside, inside = f"assaytest{unique}", f"at{unique}", f"bt{unique}"
    ours, theirs = f"10.213.{number}.1", f"10.213.{number}.2"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)

    ip("netns", "add", name)
    try:
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        ip("addr", "add", f"{ours}/24", "dev", outside)
        ip("link", "set", outside, "up")
        ip("-n", name, "addr", "add", f"{theirs}/24", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "http.server", "8099", "--bind", theirs]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        try:
            wait_for(lambda: reach(theirs) == "answers")
            yield name, theirs
        finally:
            server.kill()
            server.wait(10)
    finally:
        ip("netns", "del", name)


def reach(address: str) -> str:
    try:
        with socket.create_connection((address, 8099), timeout=0.6):
            return "answers"
    except TimeoutError:
        return "hangs"
    except ConnectionError:
        return "refuses"


@needs_root
@needs("nft")
def test_a_partition_hangs_a_rejection_refuses_and_both_end(namespace: tuple[str, str]) -> None:
    name, address = namespace
    peers = [f"{address.rpartition('.')[0]}.0/24"]
    for action, felt in (("network.partition", "hangs"), ("network.reject", "refuses")):
        plain = {"namespace": name, "peers": peers}
        output = inject(action, plain)
        assert reach(address) == felt
        assert any(output["table"] in one for one in remains())
        take_back(action, plain, output)
        assert reach(address) == "answers"
    arguments: dict[str, Any] = {"namespace": name, "peers": ["0.0.0.0/0"], "ports": [8099]}
    output = inject("network.partition", arguments)
    assert reach(address) == "hangs"
    take_back("network.partition", arguments, output)
    arguments["ports"] = [9999]
    output = inject("network.partition", arguments)
    assert reach(address) == "answers"
    take_back("network.partition", arguments, output)


@needs_root
@needs("nft")
def test_the_kernel_ends_a_partition_when_nobody_does(namespace: tuple[str, str]) -> None:
    name, address = namespace
    arguments = {"namespace": name, "peers": ["0.0.0.0/0"]}
    output = inject("network.partition", arguments, ttl=2)
    assert reach(address) == "hangs"
    wait_for(lambda: reach(address) == "answers", seconds=10)
    assert action_is_active("network.partition", arguments, output) is False
    assert not any(output["table"] in one for one in remains())
    take_back("network.partition", arguments, output)


@needs_root
@needs("nft")
def test_loss_loses_some_and_bandwidth_narrows(namespace: tuple[str, str]) -> None:
    name, address = namespace
    arguments: dict[str, Any] = {"namespace": name, "peers": ["0.0.0.0/0"], "percent": 60}
    output = inject("network.loss", arguments)
    assert "hangs" in {reach(address) for _ in range(15)}
    take_back("network.loss", arguments, output)
    arguments = {"namespace": name, "peers": ["0.0.0.0/0"], "bytes_per_second": 2000}
    output = inject("network.bandwidth", arguments)
    take_back("network.bandwidth", arguments, output)
    assert reach(address) == "answers"


@needs_root
@needs("nft")
def test_a_namespace_that_is_gone_has_no_fault_left(namespace: tuple[str, str]) -> None:
    arguments = {"namespace": "assaynone", "peers": ["10.0.0.0/8"]}
    assert "no network namespace" in probe_action("network.partition", arguments).reason
    gone = {"table": "assay_x", "inode": 1, "seconds": 5}
    assert action_is_active("network.partition", {**arguments, "namespace": namespace[0]}, gone) is False
    assert undo_action("network.partition", arguments, gone).ok


@pytest.mark.parametrize(
    "change", [{"peers": ["10.0.0.1; drop"]}, {"peers": ["::/0"]}, {"namespace": "a b"}, {"ports": [0]}, {"peers": []}]
)
def test_nothing_but_networks_and_ports_reaches_the_kernel(change: dict[str, Any]) -> None:
    with pytest.raises(InputRefusedError):
        plan_action("network.partition", {"namespace": "a", "peers": ["10.0.0.0/8"], **change})


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[tuple[str, int]]:
    servers = [Server(body=name) for name in (b"one", b"two")]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        slow = free.getsockname()[1]
    path = f"/tmp/{new_id('h')}.sock"
    config = tmp_path / "haproxy.cfg"
    (tmp_path / "delayed.lst").touch()
    (tmp_path / "slow.port").write_text(str(slow))
    config.write_text(
        f"""global
  stats socket {path} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  balance roundrobin
  server one 127.0.0.1:{servers[0].port} weight 100
  server two 127.0.0.1:{servers[1].port} weight 100
listen slow
  mode tcp
  bind 127.0.0.1:{slow}
  acl delayed src -f {tmp_path}/delayed.lst
  tcp-request inspect-delay 400ms
  tcp-request content accept if !delayed
  tcp-request content accept if WAIT_END
  server one 127.0.0.1:{servers[0].port}
"""
    )
    process = subprocess.Popen([find_program("haproxy"), "-f", str(config), "-db"], stderr=subprocess.DEVNULL)
    for server in servers:
        server.quiet()
    try:
        wait_for(lambda: Path(path).exists() and answer(port) != "none")
        yield path, port
    finally:
        process.kill()
        process.wait(10)
        Path(path).unlink(missing_ok=True)
        for server in servers:
            server.close()


def answer(port: int) -> str:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read().decode()
        return body if response.status == 200 else str(response.status)
    except OSError:
        return "none"
    finally:
        connection.close()


@needs("haproxy")
@pytest.mark.parametrize("name", ["haproxy.drain", "haproxy.maintenance", "haproxy.weight"])
def test_a_server_behind_haproxy_gets_no_traffic_until_it_is_taken_back(haproxy: tuple[str, int], name: str) -> None:
    path, port = haproxy
    arguments: dict[str, Any] = {"socket": path, "backend": "back", "servers": ["one"]}
    if name == "haproxy.weight":
        arguments["percent"] = 0
    plan = plan_action(name, arguments)
    assert ([target.name for target in plan.targets], plan.matched) == (["back/one"], 2)
    assert {answer(port) for _ in range(6)} == {"one", "two"}
    output = inject(name, arguments)
    assert {answer(port) for _ in range(6)} == {"two"}
    take_back(name, arguments, output)
    assert {answer(port) for _ in range(6)} == {"one", "two"}


@needs("haproxy")
def test_a_server_is_put_back_whoever_took_it_out(haproxy: tuple[str, int]) -> None:
    arguments = {"socket": haproxy[0], "backend": "back", "servers": ["one"]}
    inject("haproxy.maintenance", arguments)
    result = run_action("haproxy.ready", arguments, idempotency_key="k")
    assert result.ok, result.error
    known = foresee_action("haproxy.drain", arguments, idempotency_key="k", ttl=timedelta(seconds=60))
    assert [server["admin"] for server in known["servers"]] == [0]


@needs("haproxy")
def test_traffic_is_shifted_in_shares_and_the_share_is_read_back(haproxy: tuple[str, int]) -> None:
    path, port = haproxy
    servers = {"socket": path, "backend": "back", "servers": ["two"]}

    def share() -> Any:
        return run_action("haproxy.share", servers, idempotency_key="k").output.get("value")

    assert share() == 50
    for percent, answers in ((0, {"one"}), (100, {"two"}), (25, {"one", "two"})):
        done = run_action("haproxy.shift", {**servers, "percent": percent}, idempotency_key="k")
        assert done.ok, done.error
        assert share() == percent
        assert {answer(port) for _ in range(8)} == answers
    inject("haproxy.maintenance", servers)
    assert share() == 0, "what is out takes nothing, whatever its weight"
    done = run_action("haproxy.shift", {**servers, "percent": 60}, idempotency_key="k")
    assert not done.ok
    assert "they take 0.0 % and not 60 %" in done.error
    missing = {**servers, "servers": ["three"], "percent": 10}
    assert "no server three" in run_action("haproxy.shift", missing, idempotency_key="k").error
    assert not undo_action("haproxy.shift", {**servers, "percent": 1}, {}).ok


@given(
    percent=st.integers(0, 100),
    named=st.lists(st.integers(0, 256), min_size=1, max_size=8),
    others=st.lists(st.integers(0, 256), min_size=1, max_size=8),
)
def test_weights_give_the_share_that_was_asked_for(percent: int, named: list[int], others: list[int]) -> None:
    initial = {f"n{number}": weight for number, weight in enumerate(named)}
    initial |= {f"o{number}": weight for number, weight in enumerate(others)}
    states = {name: ServerState(name, 0, 1, weight) for name, weight in initial.items()}
    mine = {name for name in states if name.startswith("n")}
    weights = weights_for(mine, states, percent=percent)
    assert all(0 <= weight <= 256 for weight in weights.values())
    got = share_of(mine, {name: ServerState(name, 0, weight) for name, weight in weights.items()})
    assert got is not None
    assert abs(got - percent) <= 100 * len(states) / 256
    assert (got == 0) == (percent == 0)
    assert (got == 100) == (percent == 100)


@needs("haproxy")
def test_a_server_that_was_out_before_stays_out(haproxy: tuple[str, int]) -> None:
    path, port = haproxy
    arguments = {"socket": path, "backend": "back", "servers": ["one"]}
    first = inject("haproxy.maintenance", arguments)
    second = foresee_action("haproxy.maintenance", arguments, idempotency_key="k", ttl=timedelta(seconds=60))
    assert undo_action("haproxy.maintenance", arguments, second).ok
    assert {answer(port) for _ in range(4)} == {"two"}
    take_back("haproxy.maintenance", arguments, first)
    assert "no server three" in probe_action("haproxy.drain", {**arguments, "servers": ["three"]}).reason
    assert "does not answer" in probe_action("haproxy.drain", {**arguments, "socket": "/tmp/none.sock"}).reason


@needs("haproxy")
def test_connections_are_late_while_their_clients_are_on_the_list(haproxy: tuple[str, int], tmp_path: Path) -> None:
    path, port = haproxy[0], int((tmp_path / "slow.port").read_text())
    arguments = {"socket": path, "acl": f"{tmp_path}/delayed.lst"}

    def seconds() -> float:
        started = time.monotonic()
        assert answer(port) in {"one", "two"}
        return time.monotonic() - started

    assert min(seconds() for _ in range(5)) < 0.35
    output = inject("haproxy.delay", arguments)
    assert min(seconds() for _ in range(3)) >= 0.39
    take_back("haproxy.delay", arguments, output)
    assert min(seconds() for _ in range(5)) < 0.35
    assert "no list" in probe_action("haproxy.delay", {**arguments, "acl": "/etc/none.lst"}).reason


@needs_root
@needs("tc")
def test_latency_works_where_the_kernel_has_netem_and_says_so_where_not(namespace: tuple[str, str]) -> None:
    name, _ = namespace
    interfaces = subprocess.run(["ip", "-n", name, "-br", "link"], check=True, capture_output=True, text=True).stdout
    inside = next(line.split("@")[0] for line in interfaces.splitlines() if "@" in line)
    arguments = {"namespace": name, "interface": inside, "milliseconds": 120, "jitter_milliseconds": 5}
    support = probe_action("network.delay", arguments)
    assert "delay 120ms 5ms" in plan_action("network.delay", arguments).commands[0]
    if not support.supported:
        assert "no netem" in support.reason
        return
    output = inject("network.delay", arguments)
    take_back("network.delay", arguments, output)


def test_losing_an_accelerator_is_labelled_as_simulated_where_there_is_none(
    sleeper: tuple[str, psutil.Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("drivers.actions.gpu.LoseGpu.devices", tmp_path)
    mark, process = sleeper
    assert "simulated_by" in probe_action("gpu.lose", {}).reason
    arguments = {"simulated_by": {"environ": {"ASSAY_TARGET": mark}}}
    assert plan_action("gpu.lose", arguments).summary == f"SIMULATED loss of an accelerator: kill {mark}"
    result = run_action("gpu.lose", arguments, idempotency_key="k")
    assert result.ok
    assert result.output["simulated"] is True
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_what_holds_an_accelerator_is_found_by_its_open_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("drivers.actions.gpu.LoseGpu.devices", tmp_path)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia1").touch()
    program = "import sys, time; held = open(sys.argv[1]); print('up', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", program, str(tmp_path / "nvidia0")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        (target,) = plan_action("gpu.lose", {"device": 0}).targets
        assert target.identity["pid"] == holder.pid
        assert not plan_action("gpu.lose", {"device": 1}).targets
        result = run_action("gpu.lose", {}, idempotency_key="k")
        assert (result.ok, result.output["simulated"]) == (True, False)
        holder.wait(10)  # whoever looks first takes its exit status
        assert not psutil.pid_exists(holder.pid)
