"""Broken documents and a world that changes under a run: a clear message, and the run goes on or stops as declared."""

import time

import pytest
from django.db.models import ProtectedError

from accounts.data import Role
from accounts.models import User
from accounts.services import revoke_role
from core.parsing import MAX_BYTES, InputRefusedError
from drivers.services import registry
from runbooks.models import Runbook, RunbookRevision
from runbooks.services import approve_step, confirm_step, lint_documents, parse_runbook
from tests.runbooks.conftest import SITE, Bench, block, check, step

pytestmark = pytest.mark.django_db
HEAD = "---\nrunbook: bad\ntitle: Bad\n---\n"
BODY = "```wait id=w\nfor: 1s\n```\n"


def refused(text: str) -> str:
    with pytest.raises(InputRefusedError) as caught:
        parse_runbook(text, source="bad.md")
    assert "bad.md" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BODY, "no front matter"),
        ("", "no front matter"),
        ("---\nrunbook: bad\ntitle: [open\n---\n" + BODY, "bad.md:"),
        ("---\n- a list\n---\n" + BODY, "bad.md"),
        ("---\nrunbook: bad\n---\n" + BODY, "title"),
        ("---\nrunbook: bad\nrunbook: twice\ntitle: x\n---\n" + BODY, "runbook"),
        ("---\nrunbook: bad\ntitle: x\ncolour: red\n---\n" + BODY, "colour"),
        ("---\nrunbook: bad\ntitle: x\n---\n---\nsecond: 1\n---\n", "no executable block"),
        (HEAD + BODY + BODY, "the id w a second time"),
        (HEAD + "Only words.\n", "no executable block"),
        ("---\nrunbook: bad\ntitle: x\nreview_by: 2026-13-45\n---\n" + BODY, "review_by"),
        ("---\nrunbook: bad\ntitle: x\nschedule: {cron: '0 3 * * *', zone: Europe/Atlantis}\n---\n" + BODY, "Atlantis"),
        ("---\nrunbook: bad\ntitle: x\nschedule: {cron: '99 3 * * *'}\n---\n" + BODY, "five cron fields"),
        ("---\nrunbook: bad\ntitle: x\ninputs: {a: {pattern: '['}}\n---\n" + BODY, "regular expression"),
        ("---\nrunbook: bad\ntitle: x\ninputs: {a: {pattern: '(a+)+$'}}\n---\n" + BODY, "repeat within a repeat"),
        (HEAD + "```wait id=w\nfor: soon\n```\n", "duration"),
        (HEAD + "```wait id=w\n[\n```\n", "bad.md:"),
        (HEAD + "```wait id=w\n```\n", "for"),
        (HEAD + "```wait\nfor: 1s\n```\n", "the fence"),
        (HEAD + "\x00" + BODY + "```check id=x\n\x00\n```\n", "bad.md"),
    ],
)
def test_what_is_broken_is_named_with_its_line(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_file_of_ten_megabytes_is_refused_at_once() -> None:
    began = time.monotonic()
    assert f"at most {MAX_BYTES}" in refused(HEAD + "x" * 10_000_000)
    assert time.monotonic() - began < 5


def test_a_yaml_bomb_is_refused_before_it_grows() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)
    ]
    bomb = "\n".join(lines)
    began = time.monotonic()
    assert "bad.md" in refused(f"---\nrunbook: bad\ntitle: x\n{bomb}\n---\n{BODY}")
    assert "bad.md" in refused(f"{HEAD}```check id=x\n{bomb}\n```\n")
    assert "bad.md" in refused(f"{HEAD}```check id=x\nwith: {'[' * 5000}\n```\n")
    assert time.monotonic() - began < 10


def test_every_file_is_judged_though_one_before_it_is_broken() -> None:
    problems = lint_documents([("one.md", "nothing"), ("two.md", HEAD + BODY), ("three.md", HEAD)])
    assert {problem.where.partition(":")[0] for problem in problems} == {"one.md", "three.md"}


def test_a_value_that_would_keep_a_pattern_busy_is_too_long(bench: Bench) -> None:
    bench.apply(check("look"), front="inputs: {x: {pattern: '[a-z]*'}}\n")
    with pytest.raises(InputRefusedError, match="at most 4000"):
        bench.start(x="a" * 5000)


GUARDED = block("approve id=agree", before="[hit]") + step("hit", "do.destroy")


def test_an_approver_who_lost_the_role_has_not_approved_and_it_is_asked_again(bench: Bench) -> None:
    bench.apply(GUARDED)
    run = bench.start()
    bob = bench.person("bob", Role.APPROVER)
    approve_step(principal=bob, run=run, step_id="agree")
    revoke_role(principal=SITE, user=User.objects.get(username="bob"), role=Role.APPROVER)
    bench.go(run)
    assert bench.destroy.calls == []
    assert run.state == "waiting"
    assert bench.states(run)["agree"] == "waiting"
    approve_step(principal=bench.person("berta", Role.APPROVER), run=run, step_id="agree")
    assert bench.go(run).state == "succeeded"


def test_a_revision_that_is_run_cannot_be_deleted_and_a_newer_one_changes_no_run(bench: Bench) -> None:
    bench.apply(block("confirm id=sure", ask="Sure?") + step("old"))
    alice = bench.person("alice", Role.RESPONDER)
    run = bench.start(alice)
    with pytest.raises(ProtectedError):
        RunbookRevision.objects.all().delete()
    with pytest.raises(ProtectedError):
        Runbook.objects.all().delete()
    bench.apply(block("confirm id=sure", ask="Sure?") + step("new"))
    confirm_step(principal=alice, run=run, step_id="sure", answer="yes")
    assert bench.go(run).state == "succeeded"
    assert bench.change.names == ["old"]


VANISHED = block(
    "step id=end",
    action="process.continue",
    with_="{process: {environ: {ASSAY_TARGET: nothing-has-this-name}}}",
    timeout="5s",
)


def test_a_target_that_vanished_stops_the_run_and_is_named(bench: Bench) -> None:
    bench.apply(VANISHED + step("after"))
    run = bench.start()
    assert run.state == "failed"
    assert "no process matches" in run.reason
    assert bench.change.names == []


def test_a_target_that_vanished_lets_the_run_go_on_where_that_is_declared(bench: Bench) -> None:
    bench.apply(VANISHED.replace("timeout: 5s", "timeout: 5s\non_failure: continue") + step("after"))
    run = bench.start()
    assert run.state == "succeeded"
    assert bench.states(run) == {"end": "failed", "after": "succeeded"}


def test_an_action_that_vanished_during_a_run_stops_it_with_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.apply(block("confirm id=sure", ask="Sure?") + step("act"))
    alice = bench.person("alice", Role.RESPONDER)
    run = bench.start(alice)
    monkeypatch.setattr(registry, "_actions", {n: a for n, a in registry._actions.items() if n != "do.change"})
    confirm_step(principal=alice, run=run, step_id="sure", answer="yes")
    assert bench.go(run).state == "failed"
    assert "do.change" in run.reason
