from typing import Any

import pytest
from django.test import Client

from accounts.data import system_principal
from accounts.models import User
from accounts.services import create_user
from core.work import drain_all
from demo.services import load_organization
from runbooks.domain.rendering import pieces_of
from runbooks.models import RunbookRun
from runbooks.services import apply_documents

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
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
    ask("alice", started["Location"], {"action": "confirm", "step": "sure", "answer": "yes"})
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
