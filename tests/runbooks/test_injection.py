"""What inputs and outputs bring lands as text: none of it becomes a command, template, markup, YAML or header."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.data import Role
from accounts.models import User
from core.parsing import InputRefusedError
from drivers.data import ActionResult
from runbooks.domain.rendering import pieces_of
from runbooks.services import answer_step, apply_documents, keep_secret, plan_run
from tests.runbooks.conftest import SITE, Bench, block, check, step

pytestmark = pytest.mark.django_db
ANYTHING = "inputs: {x: {pattern: '[\\s\\S]*', required: true}}\n"
HOSTILE = (
    "$(touch /tmp/owned)",
    "; rm -rf / #",
    "{{ inputs.y }}",
    "{% load x %}",
    "${7*7}",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&a [*a, *a]",
    "!!python/object/apply:os.system ['id']",
    "../../etc/passwd",
    "x\r\nX-Injected: 1",
    "secret://pager-key",
    "__import__('os').system('id')",
    "\x1b[31mred",
)


@pytest.mark.parametrize("words", HOSTILE)
def test_an_input_reaches_the_action_as_it_was_written(bench: Bench, words: str) -> None:
    bench.apply(step("act", with_='{name: "before {{ inputs.x }} after"}'), front=ANYTHING)
    bench.start(x=words)
    assert bench.change.names == [f"before {words} after"]


@pytest.mark.parametrize("words", HOSTILE)
def test_an_output_reaches_the_next_action_as_it_was_said(bench: Bench, words: str) -> None:
    bench.look.will("look", ActionResult(ok=True, output={"value": words}))
    bench.apply(check("look") + step("act", with_='{name: "{{ steps.look.value }}!"}'))
    bench.start()
    assert bench.change.names == [f"{words}!"]


def test_a_reference_to_a_secret_is_followed_in_the_runbooks_own_text_alone(bench: Bench) -> None:
    keep_secret(principal=SITE, name="pager-key", value="hunter-of-pages")
    bench.apply(step("act", with_='{name: "secret://pager-key and {{ inputs.x }}"}'), front=ANYTHING)
    run = bench.start(x="secret://pager-key")
    assert bench.change.names == ["hunter-of-pages and secret://pager-key"]
    assert "hunter-of-pages" not in str(list(run.steps.get(step_id="act").attempts.values()))


def test_a_secret_is_masked_wherever_an_action_says_it(bench: Bench) -> None:
    keep_secret(principal=SITE, name="pager-key", value="hunter-of-pages")
    said = {"value": "key hunter-of-pages", "nested": [{"hunter-of-pages": 1}]}
    bench.change.will("hunter-of-pages", ActionResult(ok=False, output=said, error="401 for hunter-of-pages"))
    bench.apply(step("act", with_='{name: "secret://pager-key"}'))
    run = bench.start()
    assert "hunter" not in str(list(run.steps.get(step_id="act").attempts.values()))
    assert "hunter" not in str(list(run.steps.values()))
    assert "hunter" not in run.reason


def test_what_is_filled_into_an_address_adds_no_path_query_user_or_host(bench: Bench) -> None:
    bench.apply(step("act", with_='{name: "https://api.example.org/items/{{ inputs.x }}/state"}'), front=ANYTHING)
    for number, (words, seen) in enumerate(
        (
            ("../admin?x=1#y", "..%2Fadmin%3Fx%3D1%23y"),
            ("..", "%2E%2E"),
            ("a@evil.example", "a%40evil.example"),
            ("x\r\nHost: evil", "x%0D%0AHost:%20evil"),
            ("plain-1.2:3", "plain-1.2:3"),
        )
    ):
        bench.start(key=f"k{number}", x=words)
        assert bench.change.names[-1] == f"https://api.example.org/items/{seen}/state"


def test_a_header_of_two_lines_is_refused(bench: Bench) -> None:
    bench.apply(
        block(
            "step id=act",
            action="http.request",
            with_='{method: POST, url: "http://127.0.0.1:9/", headers: {X-Name: "{{ inputs.x }}"}, allow: [127.0.0.1]}',
            timeout="5s",
        ),
        front=ANYTHING,
    )
    run = bench.start(x="a\r\nX-Injected: 1")
    assert run.state == "failed"
    assert "header" in run.reason


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    noted: list[tuple[str, dict[str, str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            noted.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", noted
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.integration
def test_a_real_receiver_sees_one_path_whatever_is_filled_in(
    bench: Bench, receiver: tuple[str, list[tuple[str, dict[str, str]]]]
) -> None:
    url, noted = receiver
    where = f'{{url: "{url}/items/{{{{ inputs.x }}}}", allow: [127.0.0.1]}}'
    bench.apply(block("check id=act", action="http.check", with_=where, timeout="5s"), front=ANYTHING)
    for number, words in enumerate(("../admin", "..", "a?b=c", "x\r\nX-Injected: 1")):
        bench.start(key=f"k{number}", x=words)
    assert len(noted) == 4
    assert all(path.startswith("/items/") and "?" not in path for path, _ in noted)
    assert not any("X-Injected" in headers for _, headers in noted)


@pytest.mark.parametrize("words", [words for words in HOSTILE if "<" in words])
def test_markup_in_an_input_an_answer_or_an_output_is_shown_as_text(bench: Bench, words: str) -> None:
    alice = bench.person("alice", Role.RESPONDER)
    bench.look.will("look", ActionResult(ok=True, output={"value": words}))
    body = (
        check("look") + block("confirm id=sure", ask='"Is {{ inputs.x }} so?"') + block("confirm id=then", ask="Then?")
    )
    bench.apply(body, front=f"{ANYTHING}")
    run = bench.start(alice, x=words)
    answer_step(principal=alice, run=run, step_id="sure", answer="yes", evidence=f"javascript:alert(1) {words}")
    bench.go(run)
    client = Client()
    client.force_login(User.objects.get(username="alice"))
    page = client.get(f"/runbooks/runs/{run.reference}/").content.decode()
    assert words not in page
    assert page.count("&lt;") >= 3
    assert 'href="javascript' not in page


def test_the_description_of_an_input_is_text_on_the_form(bench: Bench) -> None:
    bench.person("alice", Role.RESPONDER)
    bench.apply(check("look"), front='inputs: {x: {description: "<b>bold</b>"}}\n')
    client = Client()
    client.force_login(User.objects.get(username="alice"))
    page = client.get("/runbooks/bench/").content.decode()
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold" in page


def test_markup_and_links_in_the_text_are_harmless() -> None:
    text = "---\nrunbook: x\ntitle: x\n---\n<script>x</script> [a](javascript:x) ![b](data:text/html,x)\n"
    html = "".join(piece.html for piece in pieces_of(text))
    assert "<script" not in html
    assert "href=" not in html


@pytest.mark.parametrize("broken", ["a: &x [1]\n  b: *x", "!!python/object:os.system {}", "<<: {a: 1}"])
def test_anchors_and_tags_in_a_block_are_refused(bench: Bench, broken: str) -> None:
    with pytest.raises(InputRefusedError):
        bench.apply(
            f"```check id=look\naction: see.look\ntimeout: 5s\nwith:\n  {broken.replace(chr(10), chr(10) + '  ')}\n```"
        )


def test_an_expression_calls_nothing(bench: Bench) -> None:
    for words in (
        "__import__('os')",
        "inputs.__class__",
        "open('/etc/passwd')",
        "(lambda: 1)()",
        "[x for x in inputs]",
    ):
        with pytest.raises(InputRefusedError):
            bench.apply(check("look", when=f'"{words}"'))


def test_a_preview_resolves_no_secret(bench: Bench) -> None:
    keep_secret(principal=SITE, name="pager-key", value="hunter-of-pages")
    bench.apply(step("act", with_='{name: "secret://pager-key"}'))
    assert "hunter" not in str(plan_run(principal=SITE, runbook_slug="bench", inputs={}))


def test_a_name_that_is_a_path_is_no_name() -> None:
    with pytest.raises(InputRefusedError):
        apply_documents(
            principal=SITE, documents=[("../x.md", "---\nrunbook: ../../x\ntitle: x\n---\n```wait id=w\nfor: 1s\n```")]
        )
