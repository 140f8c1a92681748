"""The playbooks that come with the site, each run to its end on real processes, servers and databases."""

import asyncio
import http.server
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import asyncssh
import orjson
import pytest

from accounts.data import Role
from core.work import drain
from demo.stack.processes import stack_processes
from drivers.services.commands import find_program
from drivers.services.haproxy import server_states
from runbooks.data import ENDED, RunState, StepState
from runbooks.models import RunbookRun
from runbooks.services import (
    acting,
    answer_step,
    apply_documents,
    apply_hosts,
    lint_documents,
    shipped_playbooks,
    start_run,
)
from tests.runbooks.conftest import SITE, Bench
from tests.runbooks.operations import PG, end_pair, make_pair

pytestmark = [pytest.mark.long, pytest.mark.django_db, pytest.mark.integration]

OPERATIONS = Path(__file__).with_name("operations.py")
HERE = "127.0.0.1"
CHILDREN: list["subprocess.Popen[bytes]"] = []
REGION = '"[a-z0-9-]{1,20}"'


def test_eight_playbooks_come_with_the_site_and_nothing_is_to_mend() -> None:
    assert len(shipped_playbooks()) == 8
    assert lint_documents(shipped_playbooks()) == []
    assert len(apply_documents(principal=SITE, documents=shipped_playbooks())) == 8


@pytest.fixture(autouse=True)
def one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are written when an action ends: a second connection would wait for the test's own transaction."""
    monkeypatch.setattr(acting, "BEAT_SECONDS", 3600.0)


@pytest.fixture
def operator(bench: Bench) -> Callable[..., RunbookRun]:
    """Run a playbook to its end, answering as two people would; `ways` says which way each decision goes."""
    apply_documents(principal=SITE, documents=shipped_playbooks())
    alice, bob = bench.person("alice", Role.RESPONDER), bench.person("bob", Role.APPROVER)

    def run(slug: str, ways: Mapping[str, str] | None = None, **inputs: Any) -> RunbookRun:
        made = start_run(principal=alice, runbook_slug=slug, inputs=inputs, trigger="test", idempotency_key=slug)
        deadline = time.monotonic() + 120
        while made.state not in ENDED:
            assert time.monotonic() < deadline, bench.states(made)
            drain("runbooks.advance")
            for step in made.steps.filter(state=StepState.WAITING):
                usual = {"approve": "approve", "confirm": "yes", "step": "done"}
                answer = usual.get(step.kind) or (ways or {})[step.step_id]
                answer_step(
                    principal=bob if step.kind == "approve" else alice,
                    run=made,
                    step_id=step.step_id,
                    answer=answer,
                    evidence="https://example.org/evidence",
                )
            made.refresh_from_db()
        return made

    return run


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets; every process that left its number there is ended."""
    path = Path(tempfile.mkdtemp(prefix="rb-"))
    yield path
    for child in CHILDREN:
        child.kill()
        child.wait(10)
    CHILDREN.clear()
    for file in path.glob("*.pid"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(file.read_text()), signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


def keep(folder: Path, name: str, *words: str, **options: Any) -> None:
    """Start a process of the test's own; the folder's fixture ends it."""
    child = subprocess.Popen(words, **options)
    CHILDREN.append(child)
    (folder / f"{name}.pid").write_text(str(child.pid))


@pytest.fixture
def hosts(folder: Path) -> Iterator[Callable[..., None]]:
    """Remote hosts: a real SSH server whose every command is a real process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))

    async def answer(process: Any) -> None:
        child = await asyncio.create_subprocess_exec(
            *shlex.split(process.command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await child.communicate()
        process.stdout.write(said.decode())
        process.exit(child.returncode or 0)

    async def listen() -> Any:
        authorized = asyncssh.import_authorized_keys(client_key.export_public_key().decode())
        return await asyncssh.listen(
            HERE, 0, server_host_keys=[host_key], authorized_client_keys=authorized, process_factory=answer
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)

    def allow(name: str, commands: str) -> None:
        public = " ".join(host_key.export_public_key().decode().split()[:2])
        head = f"host: {name}\naddress: {HERE}\nport: {server.sockets[0].getsockname()[1]}\nusername: assay\n"
        apply_hosts(
            principal=SITE,
            text=f"{head}host_key: {public}\ncommands:\n{commands}",
            source=name,
            private_key=client_key.export_private_key().decode(),
        )

    yield allow

    async def close() -> None:
        server.close()
        await server.wait_closed()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(close(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def command(folder: Path, name: str, *arguments: str, reads: bool = False, runs: str = "") -> str:
    words = ", ".join([f'"{sys.executable}"', f'"{OPERATIONS}"', f'"{folder}"', runs or name])
    words += "".join(f', "{{{one}}}"' for one in arguments)
    declared = f", arguments: {{{', '.join(f'{one}: {REGION}' for one in arguments)}}}" if arguments else ""
    return f"  {name}: {{argv: [{words}]{declared}{', reads: true' if reads else ''}}}\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, url
            time.sleep(0.1)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[int]:
    """The demo's serving stack without its load: real processes; yields the gateway's port."""
    from tests.demo.test_stack import free_ports

    first = free_ports(6)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    running = [
        subprocess.Popen(one.command, env=environment, stderr=subprocess.DEVNULL)
        for one in stack_processes(first_port=first, state_dir=tmp_path / "demo")
        if one.name != "load"
    ]
    wait_for(f"http://{HERE}:{first}/healthz")
    yield first
    for child in running:
        child.terminate()
    for child in running:
        child.wait(10)


@pytest.fixture
def control() -> Iterator[Callable[[Callable[[dict[str, Any]], None]], str]]:
    """A real HTTP receiver that does what it is told, once for each Idempotency-Key."""
    servers = []

    def make(do: Callable[[dict[str, Any]], None]) -> str:
        done: set[str] = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers["Idempotency-Key"]
                if key not in done:
                    done.add(key)
                    do(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = answer  # noqa: N815 the base class's names

            def log_message(self, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer((HERE, 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://{HERE}:{server.server_address[1]}/control"

    yield make
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_traffic_growth_puts_real_load_on_the_stack(operator: Callable[..., RunbookRun], stack: int) -> None:
    url = f"http://{HERE}:{stack}"
    run = operator(
        "traffic-growth",
        url=f"{url}/v1/completions",
        health_url=f"{url}/healthz",
        rate_now="0.5",
        seconds="2",
        max_p95_ms="20000",
        max_error_ratio="0.5",
        allow=HERE,
    )
    assert run.state == RunState.SUCCEEDED, run.reason
    counts = [
        attempt.output["requests"]
        for step in ("baseline", "times-two", "times-five", "times-ten")
        for attempt in run.steps.get(step_id=step).attempts.all()
    ]
    assert counts == [1, 2, 5, 10]


HAPROXY = """global
  stats socket {socket} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:{front}
  default_backend serving
backend serving
  balance roundrobin
  server old-1 127.0.0.1:{old} weight 100
  server old-2 127.0.0.1:{old} weight 100
  server eu-north 127.0.0.1:{new} weight 0
"""


@pytest.fixture
def balanced(folder: Path) -> tuple[int, int, str]:
    """A real HAProxy before two servers of the old region and one of the new: its port, the new one's, its socket."""
    if not (program := find_program("haproxy")):
        pytest.skip("needs haproxy")
    front, old, new = (free_port() for _ in range(3))
    socket_path = str(folder / "haproxy.sock")
    (folder / "haproxy.cfg").write_text(HAPROXY.format(socket=socket_path, front=front, old=old, new=new))
    keep(folder, "old", sys.executable, str(OPERATIONS), str(folder), "serve", str(old), "old")
    keep(folder, "haproxy", program, "-f", str(folder / "haproxy.cfg"), "-db", stderr=subprocess.DEVNULL)
    wait_for(f"http://{HERE}:{front}/")
    return front, new, socket_path


@pytest.mark.parametrize(
    ("version", "state", "steps"),
    [
        ("good", RunState.SUCCEEDED, {"shift-some", "shift-half", "shift-all"}),
        ("bad", RunState.ROLLED_BACK, set()),
        ("tires", RunState.ROLLED_BACK, {"shift-some", "shift-half"}),
    ],
)
def test_a_region_is_opened_or_taken_back_whole(  # noqa: PLR0917 fixtures and parameters
    operator: Callable[..., RunbookRun],
    hosts: Callable[..., None],
    folder: Path,
    balanced: tuple[int, int, str],
    version: str,
    state: str,
    steps: set[str],
) -> None:
    front, port, path = balanced
    (folder / "eu-north.service").write_text(f"{port} {version}")
    hosts("control", "".join(command(folder, name, "region") for name in ("start-region", "stop-region")))
    inputs = {
        "region": "eu-north",
        "host": "control",
        "url": f"http://{HERE}:{port}/",
        "front_url": f"http://{HERE}:{front}/",
        "socket": path,
        "backend": "serving",
        "servers": "eu-north",
        "rate": "10",
        "seconds": "1",
    }
    if version == "bad":
        # What does not answer within its time is the same as what does not answer well; do not wait minutes for it.
        documents = [(n, t.replace("for: 5m", "for: 3s")) for n, t in shipped_playbooks()]
        apply_documents(principal=SITE, documents=documents)
    run = operator("geographic-expansion", {"next": "go-on"}, **inputs, allow=HERE)
    assert run.state == state, run.reason
    shifted = run.steps.filter(step_id__startswith="shift-", attempts__isnull=False).exclude(step_id="shift-none")
    assert set(shifted.values_list("step_id", flat=True)) == steps
    answers = {urllib.request.urlopen(inputs["front_url"], timeout=5).read().decode() for _ in range(6)}
    assert answers == {"good" if version == "good" else "old"}
    share = {name: one.weight for name, one in server_states(path, "serving").items()}
    assert (share["eu-north"] > 0, share["old-1"] > 0) == (version == "good", version != "good")
    assert (folder / "region-eu-north.pid").exists() == (version == "good")


def test_ai_serving_is_scaled_out_by_real_model_servers(
    operator: Callable[..., RunbookRun], control: Callable[..., str], folder: Path
) -> None:
    ports = [free_port() for _ in range(2)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    def scale(body: dict[str, Any]) -> None:
        for number, port in enumerate(ports[: body["replicas"]]):
            words = [sys.executable, "-m", "demo.stack.model_server", "--port", str(port), "--name", f"r{number}"]
            keep(folder, f"r{number}", *words, env=environment, stderr=subprocess.DEVNULL)

    run = operator(
        "ai-serving-scale-out",
        scaler_url=control(scale),
        replicas="2",
        replicas_now="0",
        ready_urls=",".join(f"http://{HERE}:{port}/healthz" for port in ports),
        url=f"http://{HERE}:{ports[0]}/v1/completions",
        rate="2",
        seconds="2",
        max_p95_ms="30000",
        allow=HERE,
    )
    assert run.state == RunState.SUCCEEDED, run.reason
    assert [step.state for step in run.steps.filter(step_id="ready")] == ["succeeded", "succeeded"]


def test_a_bad_deployment_is_rolled_back(
    operator: Callable[..., RunbookRun], control: Callable[..., str], folder: Path
) -> None:
    port = free_port()
    running: list[subprocess.Popen[bytes]] = []

    def deploy(body: dict[str, Any]) -> None:
        for old in running:
            old.kill()
            old.wait(10)
        words = [sys.executable, str(OPERATIONS), str(folder), "serve", str(port), body["version"]]
        running.append(subprocess.Popen(words))

    deploy({"version": "bad"})
    url = f"http://{HERE}:{port}/"
    try:
        run = operator(
            "bad-deployment-rollback",
            deployer_url=control(deploy),
            version="v41",
            health_url=url,
            url=url,
            allow=HERE,
        )
    finally:
        running[-1].kill()
        running[-1].wait(10)
    assert run.state == RunState.SUCCEEDED, run.reason
    assert len(running) == 2
    assert run.steps.get(step_id="sick").attempts.get().state == StepState.FAILED


def test_a_lost_gpu_node_is_emptied_while_serving_goes_on(
    operator: Callable[..., RunbookRun], hosts: Callable[..., None], folder: Path
) -> None:
    port = free_port()
    (folder / "node-1.gpus").write_text("0")
    for name in ("node-1-replica-1", "node-1-replica-2", "node-2-replica-3"):
        keep(folder, name, "sleep", "600")
    keep(folder, "gateway", sys.executable, str(OPERATIONS), ".", "serve", str(port), "good")
    hosts(
        "cluster",
        command(folder, "healthy-gpus", "node", reads=True)
        + command(folder, "ready-replicas", reads=True)
        + "".join(command(folder, name, "node") for name in ("cordon", "uncordon", "drain")),
    )
    run = operator(
        "gpu-node-loss",
        {"hardware": "broken"},
        host="cluster",
        node="node-1",
        health_url=f"http://{HERE}:{port}/",
        least_replicas="3",
        allow=HERE,
    )
    assert run.state == RunState.SUCCEEDED, run.reason
    assert (folder / "node-1.cordoned").exists()
    assert sorted(file.stem for file in folder.glob("*-replica-*.pid")) == [
        "node-2-replica-3",
        "spare-replica-1",
        "spare-replica-2",
    ]


@pytest.mark.parametrize(("purpose", "rows"), [("drill", 1), ("replace", 3)])
def test_a_backup_is_restored_beside_and_swapped_in_only_on_purpose(
    operator: Callable[..., RunbookRun], hosts: Callable[..., None], folder: Path, purpose: str, rows: int
) -> None:
    (folder / "backups").mkdir()
    for path, count in ((folder / "live.sqlite3", 1), (folder / "backups" / "monday.sqlite3", 3)):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE account (id INTEGER)")
            connection.executemany("INSERT INTO account VALUES (?)", [(n,) for n in range(count)])
    reading = ("backup-age-hours", "count-beside", "count-live")
    hosts(
        "db",
        "".join(command(folder, name, reads=True) for name in reading)
        + "".join(command(folder, name) for name in ("restore-beside", "drop-beside", "swap", "swap-back")),
    )
    run = operator("backup-restore", {"purpose": purpose}, host="db", least_rows="3")
    assert run.state == RunState.SUCCEEDED, run.reason
    with closing(sqlite3.connect(folder / "live.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM account").fetchone() == (rows,)
    assert not (folder / "beside.sqlite3").exists()


@pytest.mark.skipif(not PG.exists(), reason="PostgreSQL's programs are not installed")
@pytest.mark.parametrize(
    ("failback", "primary"), [("back", "one"), pytest.param("stay", "two", marks=pytest.mark.soak)]
)
def test_a_real_database_fails_over_and_back(
    operator: Callable[..., RunbookRun], hosts: Callable[..., None], folder: Path, failback: str, primary: str
) -> None:
    try:
        make_pair(folder)
        for host, data in (("db-1", folder / "one"), ("db-2", folder / "two")):
            hosts(
                host,
                "".join(command(data, name, reads=True) for name in ("role", "lag-bytes", "probe-write"))
                + command(data, "stop", runs="stop-server")
                + "".join(command(data, name) for name in ("promote", "point-writes", "rebuild")),
            )
        run = operator("database-failover", {"failback": failback}, primary="db-1", standby="db-2")
        assert run.state == RunState.SUCCEEDED, run.reason
        assert (folder / "writes-go-to").read_text() == primary
    finally:
        end_pair(folder)


def test_a_breach_of_personal_data_takes_the_way_of_its_risk(operator: Callable[..., RunbookRun], bench: Bench) -> None:
    run = operator("personal-data-breach", {"risk": "high"}, aware_at="2026-11-20T08:15Z", reference="INC-7")
    assert run.state == RunState.SUCCEEDED, run.reason
    states = bench.states(run)
    assert states["notice-high"] == states["tell-people"] == states["register"] == "succeeded"
    assert states["notice"] == states["record-only"] == "skipped"
    assert all(step.evidence for step in run.steps.filter(kind="confirm", state="succeeded"))
