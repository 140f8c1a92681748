"""The stack's processes, started and stopped for real."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.stack.gateway import Balancer, Replica
from demo.stack.load import rate_at
from demo.stack.processes import stack_processes


def test_one_replica_left_out_is_probed_by_one_request_after_its_time() -> None:
    good, bad = Replica("h", 1), Replica("h", 2)
    balancer = Balancer([good, bad])
    balancer.failed(bad, now=100.0)
    assert {balancer.choose(avoid=set(), now=101.0).port for _ in range(4)} == {1}
    assert [balancer.choose(avoid=set(), now=106.0).port for _ in range(4)].count(2) == 1
    balancer.succeeded(bad)
    assert {balancer.choose(avoid=set(), now=107.0).port for _ in range(4)} == {1, 2}


def test_with_all_replicas_left_out_each_is_tried() -> None:
    replicas = [Replica("h", 1), Replica("h", 2)]
    balancer = Balancer(replicas)
    for replica in replicas:
        balancer.failed(replica, now=100.0)
    assert {balancer.choose(avoid=set(), now=101.0).port for _ in range(4)} == {1, 2}


def test_load_peaks_in_the_afternoon_and_keeps_its_mean() -> None:
    rates = [rate_at(hour * 3600.0, mean=5, swing=0.15) for hour in range(24)]
    assert rates.index(max(rates)) == 16
    assert rates.index(min(rates)) == 4
    assert sum(rates) / 24 == pytest.approx(5)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[tuple[int, dict[str, subprocess.Popen[bytes]]]]:
    first_port = free_ports(6)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    running = {
        process.name: subprocess.Popen(process.command, env=environment)
        for process in stack_processes(first_port=first_port, state_dir=tmp_path / "demo")
    }
    yield first_port, running
    for child in running.values():
        child.send_signal(signal.SIGCONT)
        child.terminate()
    for child in running.values():
        child.wait(10)


@pytest.mark.integration
def test_retries_hide_one_frozen_replica_of_three(stack: tuple[int, dict[str, subprocess.Popen[bytes]]]) -> None:
    port, running = stack
    wait_for(lambda: first_tokens(port)[1] >= 5, seconds=30)
    running["model-server-2"].send_signal(signal.SIGSTOP)
    good_before, all_before = first_tokens(port)
    wait_for(lambda: first_tokens(port)[1] - all_before >= 20, seconds=40)
    good, total = first_tokens(port)
    assert (good - good_before) / (total - all_before) >= 0.95


def first_tokens(port: int) -> tuple[float, float]:
    """Requests whose first token came within a second, and all requests."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return 0.0, 0.0
    pattern = r'gen_ai_server_time_to_first_token_seconds_bucket\{[^}]*le="(1\.0|\+Inf)"[^}]*\} (\S+)'
    counts = {"1.0": 0.0, "+Inf": 0.0}
    for edge, count in re.findall(pattern, text):
        counts[edge] += float(count)
    return counts["1.0"], counts["+Inf"]


def wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.2)


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free."""
    for first in range(21000 + os.getpid() % 2000, 32000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in sockets:
                probe.close()
    raise RuntimeError("no free ports")
