"""What is stored about whom is complete: found by walking every table, and gone from every column after an erasure."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import CharField, JSONField, TextField
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.models import ApiToken, SignInFailure, SignInSession
from accounts.selectors import principal_for_user
from accounts.services import create_team, create_user, grant_role, set_team_members
from compliance.models import AccessCampaign, ScanRun
from compliance.services.reviewing import accounts_of_assay, open_campaign
from core.lifecycle import Person, data_classes, personal_data
from core.named_definitions import (
    GO_BY_THEMSELVES,
    HOLD_NO_PEOPLE,
    RECORDS,
    TEXTS,
    NamesIn,
    defining_tables,
)
from core.named_people import NO_PEOPLE, UNCHANGEABLE, is_naming
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain
from custody.models import LegalHold
from custody.selectors import exported_about, references_to_people, stored_about
from custody.services import ERASE_QUEUE, remove_old_data, request_erasure, set_retention
from incidents.models import ScheduleVersion
from incidents.services import apply_documents as apply_oncall
from ledger.services import seal_pending, verify_log
from runbooks.models import Runbook, RunbookRun
from runbooks.services import apply_documents as apply_runbooks
from runbooks.services import start_run

SITE = system_principal("test")
# Broader than the rule by which columns are found: whatever could be about a person has to be told apart here.
COULD_NAME = re.compile(
    r"(^|_)(by|label|author|approver|owner|actor|account|person|people|recipient|user|username|email|mail|assignee|"
    r"reviewer|reporter|member|members|participant|participants|contact|who|whom|holder|requester|granter|name_id)($|_)"
)
NOT_ABOUT_PEOPLE = {
    "compliance.Requirement.label": "what a requirement is called",
    "core.SchemaRelease.by": "the release that made a step",
    "runbooks.RemoteHost.username": "the account of a machine",
    "runbooks.RunbookRun.operated_by": "numbers of accounts, no names",
    "account.EmailAddress.email": "the row goes with the account",
    "accounts.SignInSession.name_id_told": "formats; the row goes with the person",
}


def table_of(model: Any) -> str:
    return str(model._meta.label)


def registered() -> set[str]:
    return {table_of(one.rows(Person(0, "nobody", "", "")).model) for one in personal_data()}


@pytest.mark.django_db
def test_every_reference_to_the_account_is_on_the_page() -> None:
    user = get_user_model()
    found = {
        (table_of(model), field.name)
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if getattr(field, "concrete", False) and field.is_relation and field.related_model is user
    }
    walked = {(table_of(one.related_model), one.field.name) for one in references_to_people()}
    assert len(found) > 30
    assert found - walked == set()


@pytest.mark.django_db
def test_every_column_of_text_that_could_name_people_is_known() -> None:
    known = registered()
    unknown = []
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            name = f"{table_of(model)}.{field.name}"
            text = isinstance(field, CharField | TextField | JSONField) and not field.choices
            if not text or COULD_NAME.search(field.name) is None or field.name in NO_PEOPLE:
                continue
            if not (is_naming(field) or table_of(model) in known | UNCHANGEABLE or name in NOT_ABOUT_PEOPLE):
                unknown.append(name)
    assert unknown == []


def nadja() -> Any:
    """Return somebody whom many tables name."""
    person = create_user(
        principal=SITE, username="nadja.z", password=None, full_name="Nadja Zzyx", email="nadja@example.org"
    )
    grant_role(principal=SITE, user=person, role=Role.COMPLIANCE_MANAGER)
    team = create_team(principal=SITE, slug="night", name="Night")
    set_team_members(principal=SITE, team=team, usernames=["nadja.z"])
    open_campaign(
        principal=principal_for_user(user=person),
        slug="everybody",
        name="Everybody",
        system="assay",
        source="assay",
        due_on=(timezone.now() + timedelta(days=7)).date(),
        accounts=accounts_of_assay(),
    )
    ScanRun.objects.create(
        reference="scan_1", source="path", place="/x", requested_by=f"user:{person.pk}",
        requested_by_label="Nadja Zzyx", requested_at=timezone.now(), due_at=timezone.now(),
    )  # fmt: skip
    return person


def where_named(*names: str) -> set[str]:
    """Return every column of every table that holds one of these names somewhere in its text."""
    found = set()
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, CharField | TextField | JSONField):
                for value in model._base_manager.values_list(field.attname, flat=True):
                    if any(name in str(value) for name in names):
                        found.add(f"{table_of(model)}.{field.name}")
    return found


@pytest.mark.django_db
def test_the_page_tells_of_all_and_an_erasure_leaves_no_name() -> None:
    person = nadja()
    admin = create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=admin, role=Role.ADMIN)
    viewer = principal_for_user(user=admin)
    names = ("nadja.z", "Nadja Zzyx", "nadja@example.org")
    before = where_named(*names)
    assert {"compliance.AccessEntry.account", "compliance.ScanRun.requested_by_label"} <= before
    told = {one.key: one for one in stored_about(viewer=viewer, user=person)}
    assert told["compliance.accessentry.name"].erased
    assert told["compliance.scanrun.name"].count == told["compliance.scanrun.number"].count == 1
    assert "accounts.team.members" in told
    assert "Nadja Zzyx" in str(exported_about(viewer=viewer, user=person)["compliance.scanrun"])
    seal_pending()
    request_erasure(principal=SITE, username="nadja.z", reason="asked in writing")
    seal_pending()
    drain(ERASE_QUEUE)
    # The ledger's entries are about what happened: their subject and their payload have rules of their own.
    # Events go a week after everybody has heard them; the erasure needs the names, encrypted, until it is done.
    left = {name for name in where_named(*names) if not name.startswith("ledger.")}
    assert left == {"core.Event.payload", "custody.Erasure.names"}
    assert ScanRun.objects.get().requested_by_label == f"erased-{person.pk}"
    assert ScanRun.objects.get().requested_by == f"user:{person.pk}"
    assert AccessCampaign.objects.get().opened_by == f"user:{person.pk}"


@pytest.mark.django_db
def test_names_wait_while_something_is_held() -> None:
    person = nadja()
    carol = create_user(principal=SITE, username="carol", password=None)
    grant_role(principal=SITE, user=carol, role=Role.COMPLIANCE_MANAGER)
    LegalHold.objects.create(
        kind="service", target="gateway", reason="case", requested_by="user:0", requested_at=timezone.now()
    )  # fmt: skip
    request_erasure(principal=SITE, username="nadja.z", reason="asked")
    drain(ERASE_QUEUE)
    assert ScanRun.objects.get().requested_by_label == "Nadja Zzyx"
    assert person.pk


@pytest.mark.django_db
def test_sessions_tokens_and_failures_go_within_their_bounds() -> None:
    person, now = nadja(), timezone.now()
    old = now - timedelta(days=500)
    for key, ended in (("a", old), ("b", now), ("c", None)):
        SignInSession.objects.create(user=person, session_key=key, signed_in_at=old, seen_at=old, ended_at=ended)
    for number, expires in enumerate((old, now)):
        ApiToken.objects.create(name="x", owner=person, digest=str(number), hint="x", expires_at=expires)
    SignInFailure.objects.create(username="x", address="x", failed_at=now - timedelta(days=2))
    remove_old_data()
    assert set(SignInSession.objects.values_list("session_key", flat=True)) == {"b", "c"}
    assert ApiToken.objects.count() == 1
    assert not SignInFailure.objects.exists()
    for key, days in (("accounts.sessions", 6), ("accounts.sessions", 401), ("accounts.sign_in_failures", 91)):
        with pytest.raises(InputRefusedError):
            set_retention(principal=SITE, key=key, keep_days=days, reason="x")
    with pytest.raises(InputRefusedError):
        set_retention(principal=SITE, key="accounts.sessions", keep_days=None, reason="x")
    set_retention(principal=SITE, key="accounts.sessions", keep_days=400, reason="x")
    assert {one.key for one in data_classes()} >= {"compliance.scans", "compliance.exports", "delivery.notifications"}


SCHEDULE = """
apiVersion: assay/v1
kind: Schedule
metadata: {name: nights, title: Nights}
spec:
  team: night
  layers:
    - name: weekly
      rotation: {unit: week, length: 1, anchor_date: "2026-01-05", handoff_time: "09:00"}
      participants: [nadja.z, ada]
"""
RUNBOOK = """---
runbook: look
title: Look
inputs:
  who: {type: string, default: ada}
---
# Look

Ask Nadja Zzyx <nadja@example.org> first, or @nadja.z; not nadja.zander.

```confirm id=asked
ask: Has nadja.z answered?
answers: ["yes", "no"]
```
"""


@pytest.mark.django_db
@pytest.mark.database
def test_definitions_and_records_lose_the_name_and_stay_readable(client: Any) -> None:
    person, admin = nadja(), create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=admin, role=Role.ADMIN)
    apply_oncall(principal=SITE, documents=load_yaml_documents(SCHEDULE, source="x"), source="x")
    apply_runbooks(principal=SITE, documents=[("look.md", RUNBOOK)])
    start_run(principal=SITE, runbook_slug="look", inputs={"who": "nadja.z"}, trigger="test", idempotency_key="one")
    viewer = principal_for_user(user=admin)
    told = {one.key: one for one in stored_about(viewer=viewer, user=person)}
    assert told["incidents.scheduleversion.inside"].count == told["runbooks.runbookrevision.inside"].count == 1
    assert "runbooks.runbookrun.inside" not in told, "records are many: only who asks has them read"
    assert "runbooks.runbookrun.inside" in {
        one.key for one in stored_about(viewer=viewer, user=person, in_records=True)
    }
    client.force_login(admin)
    page = client.get("/settings/people/nadja.z/data/?records=1").content.decode()
    assert "Runbook runs (named within)" in page
    assert "nadja.z" in str(exported_about(viewer=viewer, user=person)["incidents.scheduleversion.inside"])
    seal_pending()
    request_erasure(principal=SITE, username="nadja.z", reason="asked in writing")
    seal_pending()
    drain(ERASE_QUEUE)
    gone, names = f"erased-{person.pk}", ("nadja.z", "Nadja Zzyx", "nadja@example.org")
    left = {name for name in where_named(*names) if not name.startswith("ledger.")}
    assert left == {"core.Event.payload", "custody.Erasure.names", "runbooks.RunbookRevision.source"}
    source = Runbook.objects.get().revisions.get().source
    assert f"Ask {gone} <{gone}> first, or @{gone}; not nadja.zander." in source, "another name is left as it is"
    assert f"Has {gone} answered?" in str(Runbook.objects.get().revisions.get().blocks)
    assert RunbookRun.objects.get().inputs["who"] == gone
    first = ScheduleVersion.objects.order_by("pk")[0]
    assert first.layers[0]["participants"] == [[gone], ["ada"]], "who was on call is still told, by number"
    # The digest stays that of what was published: the same file again is no change.
    assert apply_runbooks(principal=SITE, documents=[("look.md", RUNBOOK)]) == []
    seal_pending()
    assert verify_log().problems == []


def test_a_user_name_that_is_a_word_is_found_only_where_people_are_named() -> None:
    names = NamesIn(Person(7, "data", "data@example.org", "Data Lore"))
    written = {
        "team": "data",
        "approvedBy": "data",
        "participants": [["data"], ["database"]],
        "text": "All data is kept, says @data (user:data), data@example.org or Data Lore; not x@data.org.",
        "source": "owner: data\nteam: data\n- data\nkeep the data\n",
        "owner": {"data": 1},
    }
    assert names.without(written) == {
        "team": "data",
        "approvedBy": "erased-7",
        "participants": [["erased-7"], ["database"]],
        "text": "All data is kept, says @erased-7 (user:erased-7), erased-7 or erased-7; not x@data.org.",
        "source": "owner: erased-7\nteam: data\n- erased-7\nkeep the data\n",
        "owner": {"erased-7": 1},
    }
    assert NamesIn(Person(7, "ab", "", "")).looked_for == []


def test_what_is_not_searched_for_names_exists_and_all_else_is() -> None:
    models = {table_of(model) for model in apps.get_models()}
    columns = {
        f"{table_of(model)}.{field.name}" for model in apps.get_models() for field in model._meta.concrete_fields
    }
    assert set(GO_BY_THEMSELVES) | RECORDS <= models
    assert set(HOLD_NO_PEOPLE) | set(TEXTS) <= columns
    assert {table_of(one.model) for one in defining_tables()} >= RECORDS
