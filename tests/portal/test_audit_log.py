"""The audit log: who did what to whom, in words, filtered, page by page, exported."""

import csv
import io
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.data import Capability, Role, system_principal
from accounts.models import User
from accounts.services import create_api_token, create_user, grant_role
from ledger.data.access import AuditedAction
from ledger.models import Forwarder, LedgerEntry
from ledger.selectors import TrailQuestion, trail, whole_trail
from ledger.services import erase_payload, record, seal_pending

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SYSTEM = system_principal("test")
PAGE = "/settings/audit-log/"


@pytest.fixture(autouse=True)
def people() -> None:
    for name, role in (("carol", Role.COMPLIANCE_MANAGER), ("victor", Role.VIEWER)):
        user = create_user(principal=SYSTEM, username=name, password=None, full_name=f"{name.title()} Example")
        grant_role(principal=SYSTEM, user=user, role=role)


def carol() -> User:
    return User.objects.get(username="carol")


def client(name: str = "carol") -> Client:
    one = Client(raise_request_exception=False)
    one.force_login(User.objects.get(username=name))
    return one


def lit(number: int, *, actor: str = "system:lamps", **fields: Any) -> LedgerEntry:
    return record(AuditedAction(action="lamp.lit", target=str(number), **fields), actor=actor, subject=f"lamp:{number}")


def test_a_line_says_who_did_what_to_whom_and_from_where_and_leads_to_its_proof() -> None:
    user = carol()
    entry = record(
        AuditedAction(action="lamp.put_out", target="x", before={"light": "on"}, after={"light": "off"},
                      reason="day", address="192.0.2.7"),
        actor=f"user:{user.pk}", subject=f"user:{user.pk}",
    )  # fmt: skip
    seal_pending()
    page = client().get(PAGE).content.decode()
    for said in ("Carol Example", "lamp put out", "light: on → off", "because: day", "192.0.2.7"):
        assert said in page
    assert f'href="{entry.get_absolute_url()}">No. ' in page


def test_filters_narrow_by_person_with_their_tokens_type_subject_and_period() -> None:
    user = carol()
    token, _ = create_api_token(principal=SYSTEM, owner=user, name="ci", scopes=[Capability.LEDGER_VIEW])
    lit(1, actor=f"user:{user.pk}")
    by_token = lit(2, actor=f"token:{token.pk}")
    lit(3)
    lines = client().get(PAGE, {"who": "carol"}).context["lines"]
    assert [line.entry.subject for line in lines] == ["lamp:2", "lamp:1"]
    assert lines[0].who == "Carol Example by the token ci"
    about = client().get(PAGE, {"about": "lamp:3", "kind": "audit.action"}).context["lines"]
    assert [line.entry.subject for line in about] == ["lamp:3"]
    later = by_token.recorded_at + timedelta(microseconds=1)
    period = TrailQuestion(since=by_token.recorded_at, until=later, subject="lamp:2")
    assert [entry.subject for entry in whole_trail(period)] == ["lamp:2"]
    assert client().get(PAGE, {"who": "nobody-here"}).context["lines"] == []
    assert client().get(PAGE, {"since": "yesterday"}).status_code == 400


def test_words_are_found_in_what_was_said_but_not_in_the_names_of_fields() -> None:
    lit(1, reason='a "Quoted" remark', address="198.51.100.9")
    lit(2, reason="nothing")
    for text, expected in (("quoted lamp", ["lamp:1"]), ('"quoted"', ["lamp:1"]), ("198.51.100", ["lamp:1"])):
        lines = client().get(PAGE, {"words": text}).context["lines"]
        assert [line.entry.subject for line in lines] == expected
    assert client().get(PAGE, {"words": "outcome"}).context["lines"] == []


def test_a_search_says_how_far_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger.selectors import audit_trail

    monkeypatch.setattr(audit_trail, "STRETCH", 3)
    lit(1, reason="rare")
    for number in range(2, 7):
        lit(number)
    first = trail(TrailQuestion(words=("rare",)))
    assert (first.entries, first.full) == ([], False)
    assert first.older is not None
    second = trail(TrailQuestion(words=("rare",)), after=first.older)
    assert [entry.subject for entry in second.entries] == ["lamp:1"]
    assert "Look further back" in client().get(PAGE, {"words": "rare"}).content.decode()
    assert [entry.subject for entry in whole_trail(TrailQuestion(words=("rare",)))] == ["lamp:1"]


def test_pages_follow_each_other_without_loss_even_among_entries_of_one_instant() -> None:
    for number in range(7):
        lit(number)
    LedgerEntry.objects.filter(subject__startswith="lamp:").update(recorded_at=carol().date_joined)
    question = TrailQuestion(actors=("system:lamps",))
    seen, after = [], None
    while True:
        page = trail(question, after=after, limit=3)
        seen += [entry.subject for entry in page.entries]
        if page.older is None:
            break
        after = page.older
    assert seen == [f"lamp:{number}" for number in range(6, -1, -1)]


def test_the_page_asks_the_database_as_often_for_many_as_for_few() -> None:
    viewer = client()
    viewer.get(PAGE)

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert viewer.get(PAGE).status_code == 200
        return len(queries)

    lit(1, actor=f"user:{carol().pk}")
    few = asked()
    for number in range(60):
        lit(number, actor=f"user:{carol().pk}")
    assert asked() == few
    assert viewer.get(PAGE).context["older"]


def test_an_export_streams_what_was_asked_for_and_is_itself_recorded() -> None:
    lit(1, reason="=HYPERLINK(1)")
    lit(2)
    seal_pending()
    answer = client().post(PAGE, {"format": "csv", "about": "lamp:1"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))  # type: ignore[attr-defined]
    assert [(row["subject"], row["did"]) for row in rows] == [("lamp:1", "lamp lit")]
    assert not rows[0]["details"].startswith("=")
    recorded = LedgerEntry.objects.get(subject="ledger:audit-log")
    assert recorded.payload is not None
    assert recorded.payload["after"] == {"about": "lamp:1"}
    answer = client().post(PAGE, {"format": "jsonl", "who": "system:lamps"})
    lines = [orjson.loads(line) for line in b"".join(answer.streaming_content).splitlines()]  # type: ignore[attr-defined]
    assert [line["payload"]["target"] for line in lines] == ["2", "1"]


def test_what_was_erased_is_shown_as_erased() -> None:
    entry = lit(1, reason="secret remark")
    seal_pending()
    erase_payload(principal=SYSTEM, entry=LedgerEntry.objects.get(pk=entry.pk), reason="asked to")
    page = client().get(PAGE, {"about": "lamp:1"}).content.decode()
    assert "what it said was erased" in page
    assert client().get(PAGE, {"words": "remark"}).context["lines"] == []


def test_strangers_readers_and_wrong_methods_are_refused() -> None:
    assert Client().get(PAGE).status_code == 302
    assert client("victor").get(PAGE).status_code == 403
    assert client("victor").post(PAGE, {"format": "csv"}).status_code == 403
    assert client().post(PAGE, {"format": "exe"}).status_code == 400
    assert client().put(PAGE).status_code == 405
    assert PAGE not in client("victor").get("/settings/account/").content.decode()


def test_the_command_lists_and_exports(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lit(1)
    call_command("auditlog", "list", "--who", "system:lamps", "--format", "json")
    assert [row["to"] for row in orjson.loads(capsys.readouterr().out)] == ["lamp:1"]
    target = tmp_path / "out.jsonl"
    call_command("auditlog", "export", str(target), "--about", "lamp:1")
    assert orjson.loads(target.read_bytes())["subject"] == "lamp:1"


def test_the_page_says_who_outside_is_told_and_how_far() -> None:
    lit(1)
    seal_pending()
    assert "Nobody outside is told this log." in client().get(PAGE).content.decode()
    Forwarder.objects.create(
        name="siem", kind="syslog", address="tls://a", due_at=timezone.now(), created_at=timezone.now()
    )
    said = client().get(PAGE).content.decode()
    assert "Told to 1 destination outside: the furthest lacks" in said
    assert "/settings/forwarding/" not in said.partition("<main")[2]
