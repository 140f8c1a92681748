"""The actions of this room, on a real SSH server, a real HTTP server and real Prometheus answers."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import asyncssh
import orjson
import pytest

from core.live import effort
from core.parsing import InputRefusedError
from drivers.data import Risk
from drivers.services import plan_action, probe_action, run_action
from runbooks.data import RunState
from runbooks.models import OutputLine, StepAttempt
from runbooks.services import apply_hosts, confirm_step
from tests.runbooks.conftest import SITE, Bench, block

pytestmark = [pytest.mark.django_db, pytest.mark.integration]

HOST = """host: db-1
address: 127.0.0.1
port: {port}
username: assay
host_key: {key}
commands:
  lag: {{argv: [lag-of, "{{name}}"], arguments: {{name: "[a-z0-9-]{{1,20}}"}}, reads: true}}
  promote: {{argv: [promote]}}
  slow: {{argv: [sleep]}}
  chatty: {{argv: [chatter]}}
  say: {{argv: [echo, "{{words}}"], arguments: {{words: ".*"}}}}
"""


class SshSite:
    """A real asyncssh server that answers a few words; what it was asked to run is noted as it came."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.server: Any = None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def start(self) -> None:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(20)

    async def _listen(self) -> None:
        authorized = asyncssh.import_authorized_keys(self.client_key.export_public_key().decode())
        self.server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            authorized_client_keys=authorized,
            process_factory=self._answer,
        )

    async def _answer(self, process: Any) -> None:
        command = process.command or ""
        self.asked.append(command)
        self.keys.append(process.env.get("ASSAY_IDEMPOTENCY_KEY", ""))
        if command.startswith("lag-of"):
            process.stdout.write("seconds behind:\n12\n")
        elif command == "sleep":
            await asyncio.sleep(5)
        elif command == "chatter":
            for number in range(400):
                process.stdout.write(f"{number:04d} {'x' * 995}\n")
        process.exit(1 if command == "promote" else 0)

    def stop(self) -> None:
        async def close() -> None:
            self.server.close()
            await self.server.wait_closed()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def document(self, key: str | None = None) -> str:
        public = key or self.host_key.export_public_key().decode().strip()
        return HOST.format(port=self.server.sockets[0].getsockname()[1], key=" ".join(public.split()[:2]))


@pytest.fixture
def ssh() -> Iterator[SshSite]:
    site = SshSite()
    site.start()
    apply_hosts(
        principal=SITE,
        text=site.document(),
        source="hosts.yaml",
        private_key=site.client_key.export_private_key().decode(),
    )
    yield site
    site.stop()


def run(name: str, key: str = "k", **arguments: Any) -> Any:
    return run_action(name, arguments, idempotency_key=key)


def test_an_allowed_command_runs_and_its_number_is_the_value(ssh: SshSite) -> None:
    result = run("ssh.check", target="db-1", command="lag", arguments={"name": "replica-2"})
    assert result.ok
    assert result.output["value"] == 12
    assert ssh.asked == ["lag-of replica-2"]
    assert (
        plan_action("ssh.check", {"target": "db-1", "command": "lag", "arguments": {"name": "a"}})
        .commands[0]
        .endswith("lag-of a")
    )


def test_what_is_not_on_the_list_does_not_run(ssh: SshSite) -> None:
    assert "not allowed on db-1" in run("ssh.command", target="db-1", command="reboot").error
    assert "no remote host" in run("ssh.command", target="db-9", command="lag").error
    assert "takes name" in run("ssh.check", target="db-1", command="lag").error
    assert "must look like" in run("ssh.check", target="db-1", command="lag", arguments={"name": "a; reboot"}).error
    assert "may change something" in run("ssh.check", target="db-1", command="promote").error
    assert ssh.asked == []


@pytest.mark.parametrize("words", ["$(reboot)", "a; rm -rf /", "`id`", "' || id '", "a\nreboot", "{words}", "$HOME"])
def test_an_argument_stays_one_word_whatever_is_in_it(ssh: SshSite, words: str) -> None:
    import shlex

    allowed = run("ssh.command", target="db-1", command="say", arguments={"words": words})
    if "\n" in words:
        assert "must look like" in allowed.error
        assert ssh.asked == []
    else:
        assert allowed.ok
        assert shlex.split(ssh.asked[0]) == ["echo", words]


def test_another_host_key_is_refused(ssh: SshSite) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    key = ssh.client_key.export_private_key().decode()
    apply_hosts(principal=SITE, text=ssh.document(other), source="hosts.yaml", private_key=key)
    result = run("ssh.command", target="db-1", command="promote")
    assert not result.ok
    assert "not trusted" in result.error
    assert ssh.asked == []


def test_a_command_that_fails_or_takes_too_long_is_told(ssh: SshSite) -> None:
    assert run("ssh.command", target="db-1", command="promote").error == "status 1"
    with effort(seconds=0.5, hear=lambda _: None):
        late = run("ssh.command", target="db-1", command="slow")
    assert "did not end within" in late.error


def test_lines_are_numbered_and_what_is_too_long_is_kept_as_an_artifact(ssh: SshSite, bench: Bench) -> None:
    bench.apply(block("step id=chat", action="ssh.command", with_="{target: db-1, command: chatty}", timeout="20s"))
    assert bench.start().state == RunState.SUCCEEDED
    lines = list(OutputLine.objects.values_list("number", "text"))
    assert [number for number, _ in lines] == list(range(1, len(lines) + 1))
    assert lines[0][1].startswith("0000 x")
    assert "artifact" in lines[-1][1]
    assert 200 < len(lines) < 300
    from ledger.services import read_artifact

    whole = read_artifact(StepAttempt.objects.get().artifact_sha256)
    assert whole is not None
    assert [line[:4] for line in whole.decode().split()[::2]] == [f"{number:04d}" for number in range(400)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{name}", "{other}"), "needs a pattern"),
        (("reads: true", "read: true"), "not known here"),
        (("username: assay", "username: -oProxyCommand=id"), "username"),
        (("address: 127.0.0.1", "address: 'a b'"), "address"),
    ],
)
def test_a_broken_host_document_is_refused(ssh: SshSite, change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputRefusedError, match=said):
        apply_hosts(principal=SITE, text=ssh.document().replace(*change, 1), source="h.yaml", private_key="PRIVATE KEY")


class Answers(http.server.BaseHTTPRequestHandler):
    body: bytes = b"{}"
    status = 200
    seen: list[str] = []

    def do_GET(self) -> None:
        type(self).seen.append(self.path)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[tuple[str, type[Answers]]]:
    handler = type("Handler", (Answers,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join(10)


def vector(*values: str) -> bytes:
    found = [{"metric": {"n": str(n)}, "value": [0, value]} for n, value in enumerate(values)]
    return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": found}})


@pytest.mark.parametrize(
    ("body", "reduce", "value", "said"),
    [
        (vector("3.5"), None, 3.5, ""),
        (vector("3", "4"), "max", 4, ""),
        (vector("3", "4"), "count", 2, ""),
        (vector("3", "4"), None, None, "2 series"),
        (vector(), None, None, "nothing is known"),
        (vector("NaN"), None, None, "nothing is known"),
        (b'{"status": "error", "error": "parse error"}', None, None, "parse error"),
        (b"<html>", None, None, "Expecting value"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', None, None, "no single value"),
    ],
)
def test_a_query_answers_with_a_value_or_says_why_not(
    web: tuple[str, type[Answers]], body: bytes, reduce: str | None, value: Any, said: str
) -> None:
    url, handler = web
    handler.body = body
    result = run("prometheus.query", url=url, query="up{a='b'}", reduce=reduce, allow=["127.0.0.1"])
    assert result.output.get("value") == value
    assert said in result.error
    assert handler.seen[0].startswith("/api/v1/query?query=up%7Ba%3D%27b%27%7D")


def test_a_query_goes_nowhere_that_is_not_allowed(web: tuple[str, type[Answers]]) -> None:
    assert "not public" in run("prometheus.query", url=web[0], query="up").error
    assert web[1].seen == []


def test_load_is_open_loop_and_judged(web: tuple[str, type[Answers]]) -> None:
    url, handler = web
    good = run("load.http", url=url, rate=50, seconds=1, max_error_ratio=0, allow=["127.0.0.1"])
    assert good.ok
    assert good.output["requests"] == len(handler.seen) == 50
    handler.status = 500
    bad = run("load.http", url=url, rate=20, seconds=0.5, max_error_ratio=0.1, allow=["127.0.0.1"])
    assert "10 of 10 failed" in bad.error


def test_a_task_must_be_on_the_list(settings: Any) -> None:
    settings.RUNBOOK_TASKS = ("site.rebuild",)
    assert not probe_action("celery.task", {"task": "core.drain"}).supported
    assert probe_action("celery.task", {"task": "site.rebuild"}).supported
    assert "not possible here" in run("celery.task", task="core.drain").error


def test_a_webhook_goes_into_the_outbox_once(bench: Bench) -> None:
    from delivery.models import Delivery
    from delivery.services import create_endpoint

    create_endpoint(principal=SITE, slug="sink", url="http://127.0.0.1:9/", allow=["127.0.0.1"])
    for _ in range(2):
        assert run("webhook", key="same", endpoint="sink", event="scale.out", data={"replicas": 4}).ok
    assert Delivery.objects.filter(idempotency_key="same").count() == 1
    assert not run("webhook", endpoint="nowhere").ok


def test_what_a_person_does_by_hand_waits_for_them(bench: Bench) -> None:
    bench.apply(block("step id=plug", action="manual", with_='{do: "Plug it in"}', timeout="1h"))
    made = bench.start()
    assert made.state == RunState.WAITING
    with pytest.raises(InputRefusedError, match="done or failed"):
        confirm_step(principal=bench.person("olive"), run=made, step_id="plug", answer="go")
    confirm_step(principal=bench.person("olive"), run=made, step_id="plug", answer="done", evidence="photo 3")
    assert bench.go(made).state == RunState.SUCCEEDED
    assert made.steps.get().evidence == "photo 3"


def test_every_action_of_the_room_says_what_it_is() -> None:
    from drivers.services import actions

    for name in ("prometheus.query", "ssh.command", "ssh.check", "webhook", "celery.task", "manual", "load.http"):
        found = actions()[name]
        assert found.description.endswith(".")
        assert found.risk in Risk
