from typing import Any

import pytest
from django.test import Client

from accounts.data import system_principal
from accounts.models import User
from accounts.services import create_user
from core.work import drain_all
from demo.services import load_organization
from runbooks.data import KnownAlert
from runbooks.domain.rendering import pieces_of
from runbooks.models import Runbook, RunbookRun
from runbooks.selectors import latest_revision, standing
from runbooks.services import apply_documents

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
DISK = KnownAlert("DiskFull", {"alertname": "DiskFull"}, "gateway")
ASKING = """---
runbook: ask-first
title: Ask first
owner: inference
---
# Ask first

```confirm id=sure
ask: Is the queue growing?
```
"""


@pytest.fixture(scope="module")
def organization(undone_after_module: None) -> None:
    load_organization(port=8000)
    apply_documents(principal=SITE, documents=[("ask-first.md", ASKING)])
    create_user(principal=SITE, username="charlie", password=None)


def ask(name: str, path: str, data: dict[str, str] | None = None) -> Any:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client.get(path) if data is None else client.post(path, data)


def test_prose_and_blocks_come_in_the_order_of_the_file() -> None:
    pieces = pieces_of(ASKING)
    assert [piece.block_id for piece in pieces] == ["", "sure"]
    assert "<h1>Ask first</h1>" in pieces[0].html


def test_markup_in_a_runbook_does_not_reach_the_page() -> None:
    hostile = ASKING.replace("# Ask first", "<script>alert(1)</script> [x](javascript:alert(1))")
    html = "".join(piece.html for piece in pieces_of(hostile))
    assert "<script" not in html
    assert 'href="javascript' not in html


@pytest.mark.usefixtures("organization")
def test_a_responder_starts_a_run_and_answers_its_question() -> None:
    started = ask("alice", "/runbooks/ask-first/", {"key": "one-click"})
    again = ask("alice", "/runbooks/ask-first/", {"key": "one-click"})
    assert started["Location"] == again["Location"]
    drain_all()
    page = ask("alice", started["Location"]).content.decode()
    assert "Is the queue growing?" in page
    ask("alice", started["Location"], {"action": "answer", "step": "sure", "answer": "yes"})
    drain_all()
    assert RunbookRun.objects.get().state == "succeeded"


@pytest.mark.usefixtures("organization")
def test_a_viewer_reads_but_starts_nothing() -> None:
    page = ask("dana", "/runbooks/ask-first/").content.decode()
    assert "Ask first" in page
    assert "Start a run" not in page
    assert ask("dana", "/runbooks/ask-first/", {"key": "x"}).status_code == 403
    assert not RunbookRun.objects.exists()


@pytest.mark.usefixtures("organization")
def test_a_viewer_cannot_cancel_a_run() -> None:
    run = ask("alice", "/runbooks/ask-first/", {"key": "x"})["Location"]
    assert ask("dana", run, {"action": "cancel", "reason": "no"}).status_code == 403
    assert ask("alice", run, {"action": "cancel", "reason": "a false alarm"}).status_code == 302
    assert RunbookRun.objects.get().state == "cancelled"


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("path", ["/runbooks/ask-first/", "/runbooks/unheard-of/", "/runbooks/runs/rbr_unheard/"])
def test_a_stranger_finds_nothing(path: str) -> None:
    assert ask("charlie", path).status_code == 404


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("path", ["/runbooks/", "/runbooks/runs/"])
def test_lists_refuse_a_stranger_and_other_methods(path: str) -> None:
    assert ask("charlie", path).status_code == 403
    assert ask("alice", path, {}).status_code == 405
    assert Client().get(path).status_code == 302


def revise(text: str) -> None:
    apply_documents(principal=SITE, documents=[("ask-first.md", text)])


def start(name: str = "alice") -> str:
    address: str = ask(name, "/runbooks/ask-first/", {"key": "one-click"})["Location"]
    drain_all()
    return address


ACTING = (
    ASKING.replace("# Ask first", "# Ask first\n\n```sh\nkubectl get pods\n```")
    + """
```approve id=agree
before: [restart]
```

```step id=restart
action: process.kill
with: {process: {environ: {ASSAY_TARGET: nothing-has-this}}}
timeout: 5s
```
"""
)


@pytest.mark.usefixtures("organization")
def test_a_preview_shows_resolved_commands_and_does_nothing() -> None:
    revise(ACTING)
    page = ask("alice", "/runbooks/ask-first/", {"action": "preview"}).content.decode()
    assert "Nothing was done." in page
    assert "Kill nothing: no process matches" in page
    assert not RunbookRun.objects.exists()


@pytest.mark.usefixtures("organization")
def test_an_approver_sees_what_would_be_done_and_who_runs_it_cannot_approve() -> None:
    revise(ACTING)
    run = start()
    ask("alice", run, {"action": "answer", "step": "sure", "answer": "yes"})
    drain_all()
    assert "Waits for an approver" in ask("alice", run).content.decode()
    assert ask("alice", run, {"action": "answer", "step": "agree", "answer": "approve"}).status_code == 403
    page = ask("bob", run).content.decode()
    assert 'value="approve"' in page
    assert f'hx-get="{run}plan/restart/"' in page
    assert "no process matches" in ask("bob", f"{run}plan/restart/").content.decode()
    ask("bob", run, {"action": "answer", "step": "agree", "answer": "approve"})
    drain_all()
    assert RunbookRun.objects.get().steps.get(step_id="agree").state == "succeeded"


@pytest.mark.usefixtures("organization")
def test_a_page_is_sent_again_only_when_something_changed() -> None:
    revise(ACTING)
    run = start()
    client = Client()
    client.force_login(User.objects.get(username="alice"))
    page = client.get(run).content.decode()
    again = run + "?seen=" + page.partition("?seen=")[2].partition('"')[0]
    assert client.get(again, headers={"HX-Request": "true"}).status_code == 204
    ask("alice", run, {"action": "tick", "position": "0", "done": "yes"})
    fresh = client.get(again, headers={"HX-Request": "true"})
    assert fresh.status_code == 200
    assert "kubectl get pods" in fresh.content.decode()
    assert 'aria-pressed="true"' in fresh.content.decode()


@pytest.mark.usefixtures("organization")
def test_a_run_is_paused_resumed_handed_over_and_taken_over_on_its_page() -> None:
    run = start()
    for action, more, expected in (
        ("pause", {}, "paused"),
        ("resume", {}, "waiting"),
        ("hand-over", {"to": "admin"}, "waiting"),
        ("take-over", {}, "waiting"),
    ):
        assert ask("alice", run, {"action": action, **more}).status_code == 302
        drain_all()
        assert RunbookRun.objects.get().state == expected
    notes = list(RunbookRun.objects.get().notes.values_list("text", flat=True))
    assert [note.partition(" to ")[0] for note in notes] == ["paused", "resumed", "handed over", "taken over"]
    assert ask("alice", run, {"action": "explode"}).status_code == 404


@pytest.mark.usefixtures("organization")
def test_the_glass_is_broken_on_the_page_with_a_reason_only() -> None:
    revise(ACTING)
    run = start()
    ask("alice", run, {"action": "answer", "step": "sure", "answer": "yes"})
    drain_all()
    step = RunbookRun.objects.get().steps.get(step_id="agree")
    ask("alice", run, {"action": "answer", "step": "agree", "answer": "break-glass", "reason": "hurry"})
    step.refresh_from_db()
    assert step.state == "waiting"
    reason = "nobody with the role can be reached"
    ask("alice", run, {"action": "answer", "step": "agree", "answer": "break-glass", "reason": reason})
    step.refresh_from_db()
    assert step.state == "succeeded"
    assert reason in ask("alice", run).content.decode()


@pytest.mark.usefixtures("organization")
def test_the_editor_lints_while_it_is_written_and_saves_what_is_whole() -> None:
    broken = ASKING.replace("ask: Is the queue growing?", "aks: Is the queue growing?")
    preview = ask("admin", "/runbooks/preview/", {"source": broken}).content.decode()
    assert "line 9" in preview
    assert "aks" in preview
    base = latest_revision(runbook=Runbook.objects.get(slug="ask-first")).sha256
    refused = ask("admin", "/runbooks/ask-first/edit/", {"source": broken, "base": base}).content.decode()
    assert "Nothing was saved" in refused
    assert "aks: Is the queue growing?" in refused, "nothing that was typed is lost"
    better = ASKING.replace("growing?", "growing now?")
    assert ask("admin", "/runbooks/ask-first/edit/", {"source": better, "base": base}).status_code == 302
    late = ask("admin", "/runbooks/ask-first/edit/", {"source": ASKING, "base": base})
    assert late.status_code == 409
    assert "Somebody put another revision into force" in late.content.decode()
    assert "growing now?" in late.content.decode()


@pytest.mark.usefixtures("organization")
def test_a_new_runbook_is_written_on_the_site_under_a_name_that_is_free() -> None:
    taken = ask("admin", "/runbooks/new/", {"source": ASKING})
    assert taken.status_code == 200
    assert "a name that no runbook has" in taken.content.decode()
    fresh = ASKING.replace("runbook: ask-first", "runbook: ask-second")
    assert ask("admin", "/runbooks/new/", {"source": fresh})["Location"] == "/runbooks/ask-second/"
    reserved = ASKING.replace("runbook: ask-first", "runbook: coverage")
    assert ask("admin", "/runbooks/new/", {"source": reserved}).status_code == 200
    for path in ("/runbooks/new/", "/runbooks/ask-first/edit/"):
        assert ask("dana", path).status_code == 403
    assert ask("dana", "/runbooks/preview/", {"source": fresh}).status_code == 403
    assert ask("admin", "/runbooks/preview/").status_code == 405


@pytest.mark.usefixtures("organization")
def test_revisions_are_compared_line_by_line() -> None:
    revise(ASKING.replace("growing?", "shrinking?"))
    page = ask("dana", "/runbooks/ask-first/revisions/").content.decode()
    assert "Is the queue growing?" in page
    assert "Is the queue shrinking?" in page
    assert ask("dana", "/runbooks/ask-first/revisions/?from=ffff").status_code == 404


@pytest.mark.usefixtures("organization")
def test_history_counts_what_went_well_and_how_long_it_took() -> None:
    run = start()
    ask("alice", run, {"action": "answer", "step": "sure", "answer": "yes"})
    drain_all()
    page = ask("dana", "/runbooks/ask-first/history/").content.decode()
    assert "1 of 1" in page
    assert "100" in page


@pytest.mark.usefixtures("organization")
def test_coverage_names_what_has_no_runbook_and_what_nobody_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Runbook.objects.get(slug="model-server-frozen").services.clear()
    revise(ASKING.replace("owner: inference", "owner: inference\nreview_by: 2020-01-01"))
    monkeypatch.setattr(standing, "_alert_sources", [lambda _viewer: [DISK]])
    page = ask("dana", "/runbooks/coverage/").content.decode()
    for said in ("Inference gateway", "DiskFull", "Ask first", "since 2020-01-01"):
        assert said in page
    revise(ASKING.replace("owner: inference", "owner: inference\ntriggers: [{label: alertname, equals: DiskFull}]"))
    assert "DiskFull" not in ask("dana", "/runbooks/coverage/").content.decode()
    assert "read each step before you take it" not in ask("dana", "/runbooks/ask-first/").content.decode()
    revise(ASKING.replace("owner: inference", "owner: inference\nreview_by: 2020-01-01"))
    assert "read each step before you take it" in ask("dana", "/runbooks/ask-first/").content.decode()


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("part", ["edit/", "history/", "revisions/"])
def test_pages_of_a_runbook_do_not_open_for_a_stranger(part: str) -> None:
    assert ask("charlie", f"/runbooks/ask-first/{part}").status_code == 404


@pytest.mark.usefixtures("organization")
def test_pages_of_a_run_do_not_open_for_a_stranger() -> None:
    run = start()
    for path in (run, f"{run}output/", f"{run}plan/sure/"):
        assert ask("charlie", path).status_code == 404
    assert ask("charlie", "/runbooks/coverage/").status_code == 403
    assert ask("dana", f"{run}output/").status_code == 200
