"""The audit room: populations, samples, requests, findings; an auditor sees their audit and nothing more."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_team, deactivate_user
from compliance.domain.sampling import draw, items_digest
from compliance.models import AuditFinding, AuditorAccess, AuditRequest, Engagement, SampleItem
from compliance.services import (
    answer_finding,
    ask_for,
    close_finding,
    create_engagement,
    draw_sample,
    freeze_population,
    grant_auditor,
    judge_item,
    move_request,
    raise_finding,
    request_export,
    run_checks,
)
from core.parsing import InputRefusedError
from core.work import drain_all
from ledger.data.access import AuditedAction
from ledger.selectors import entries
from ledger.services import record, seal_pending

pytestmark = [pytest.mark.django_db]
SITE = system_principal("test")


@given(st.lists(st.integers(0, 10_000), unique=True, min_size=1), st.text(max_size=20), st.integers(1, 40))
def test_a_sample_is_drawn_again_from_seed_and_items_alone(items: list[int], seed: str, size: int) -> None:
    drawn = draw(items, seed=seed, size=size)
    assert drawn == draw(sorted(items, reverse=True), seed=seed, size=size)
    assert set(drawn) <= set(items)
    assert len(drawn) == min(size, len(items))
    by_hand = sorted(items, key=lambda one: hmac.new(seed.encode(), str(one).encode(), hashlib.sha256).hexdigest())
    assert drawn == by_hand[:size]


def engagement(slug: str, manager: Principal, framework: str = "soc2") -> Engagement:
    now = timezone.now()
    return create_engagement(
        principal=manager,
        slug=slug,
        name=f"Audit {slug}",
        frameworks=[framework],
        window_start=now - timedelta(days=30),
        window_end=now + timedelta(days=30),
    )


@pytest.fixture
def room(content: None, manager: Principal) -> Engagement:
    for number in range(12):
        record(AuditedAction(action="role.granted", target=f"u{number}"), actor="user:1", subject=f"user:u{number}")
    seal_pending()
    return engagement("mine", manager)


@pytest.fixture
def ada(room: Engagement, manager: Principal, person: Callable[..., User]) -> Principal:
    user = person("ada", Role.AUDITOR)
    until = timezone.now() + timedelta(days=9)
    grant_auditor(principal=manager, engagement=room, user_id=user.pk, expires_at=until)
    return principal_for_user(user=user)


def test_an_engagement_closes_with_the_auditors_account(room: Engagement, ada: Principal) -> None:
    deactivate_user(principal=system_principal("test"), user=User.objects.get(username="ada"))
    drain_all()
    assert room.grants.get().revoked_at is not None


def freeze(principal: Principal, room: Engagement, **more: Any) -> Any:
    given: dict[str, Any] = {"slug": "actions", "title": "Actions", "entry_types": ["audit.action"]}
    return freeze_population(principal=principal, engagement=room, **{**given, **more})


def test_a_population_is_frozen_once_and_later_entries_do_not_enter_it(room: Engagement, ada: Principal) -> None:
    first = freeze(ada, room)
    assert first.count >= 12
    assert first.digest == items_digest(first.items)
    record(AuditedAction(action="role.granted", target="late"), actor="user:1", subject="user:late")
    seal_pending()
    assert freeze(ada, room).items == first.items
    assert entries(types=["population.snapshot"]).count() == 1


def test_a_sample_has_its_sheet_which_only_the_auditor_writes(
    room: Engagement, ada: Principal, manager: Principal
) -> None:
    sample = draw_sample(principal=ada, population=freeze(ada, room), size=5, seed="the auditor's own")
    again = draw_sample(principal=ada, population=freeze(ada, room), size=5, seed="the auditor's own")
    items = [list(one.items.values_list("seq", flat=True)) for one in (sample, again)]
    assert items[0] == items[1]
    item = sample.items.first()
    assert item is not None
    with pytest.raises(PermissionDenied):
        judge_item(principal=manager, item=item, result="passed")
    with pytest.raises(InputRefusedError, match="needs a note"):
        judge_item(principal=ada, item=item, result="deviation")
    judge_item(principal=ada, item=item, result="deviation", note="no ticket")
    item.refresh_from_db()
    assert item.result == SampleItem.Result.DEVIATION
    with pytest.raises(InputRefusedError, match="1 to"):
        draw_sample(principal=ada, population=freeze(ada, room), size=10_000)


def test_an_auditor_freezes_only_what_the_scope_looks_at(room: Engagement, ada: Principal) -> None:
    with pytest.raises(InputRefusedError, match="kinds in the scope"):
        freeze(ada, room, slug="x", entry_types=["ledger.key_rotated"])
    with pytest.raises(InputRefusedError):
        freeze(ada, room, slug="x", entry_types=["no.such"])


def test_a_request_goes_to_and_fro_by_each_sides_moves(room: Engagement, ada: Principal, manager: Principal) -> None:
    asked = ask_for(principal=ada, engagement=room, title="Restore tests")

    def move(principal: Principal, state: str, text: str = "here") -> str:
        move_request(principal=principal, request=AuditRequest.objects.get(pk=asked.pk), state=state, text=text)
        return AuditRequest.objects.get(pk=asked.pk).state

    with pytest.raises(InputRefusedError, match="not your move"):
        move(ada, "accepted")
    assert move(manager, "submitted") == "submitted"
    with pytest.raises(InputRefusedError, match="not your move"):
        move(manager, "accepted")
    with pytest.raises(InputRefusedError, match="flag needs a reason"):
        move(ada, "flagged", " ")
    assert move(ada, "flagged", "wrong quarter") == "flagged"
    assert move(manager, "submitted") == "submitted"
    assert move(ada, "accepted") == "accepted"
    said = [one.payload["state"] for one in entries(types=["audit.request_changed"]) if one.payload]
    assert said == ["accepted", "submitted", "flagged", "submitted", "open"]


def test_a_finding_is_answered_and_closed_by_different_people(
    room: Engagement, ada: Principal, manager: Principal
) -> None:
    found = raise_finding(principal=ada, engagement=room, title="No ticket", severity="minor")
    with pytest.raises(PermissionDenied):
        answer_finding(principal=ada, finding=found, response="x", due_on=None)
    answer_finding(principal=manager, finding=found, response="Tickets are now required.", due_on=None)
    found.refresh_from_db()
    with pytest.raises(PermissionDenied):
        close_finding(principal=manager, finding=found)
    close_finding(principal=ada, finding=found)
    assert AuditFinding.objects.get().status == "closed"


def test_an_auditor_of_another_audit_does_nothing_here(
    room: Engagement, manager: Principal, person: Callable[..., User]
) -> None:
    other, user = engagement("other", manager), person("axel", Role.AUDITOR)
    grant_auditor(principal=manager, engagement=other, user_id=user.pk, expires_at=timezone.now() + timedelta(days=1))
    axel = principal_for_user(user=user)
    population = freeze(manager, room)
    for attempt in (
        lambda: ask_for(principal=axel, engagement=room, title="x"),
        lambda: raise_finding(principal=axel, engagement=room, title="x", severity="minor"),
        lambda: draw_sample(principal=axel, population=population, size=1),
        lambda: freeze(axel, room, slug="z"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_the_commands_freeze_and_sample(room: Engagement, capsys: Any) -> None:
    call_command("audit", "freeze", "mine", "actions", "--type", "audit.action", "--format", "json")
    frozen = json.loads(capsys.readouterr().out)
    call_command("audit", "sample", "mine", "actions", "--size", "3", "--seed", "s", "--format", "json")
    drawn = json.loads(capsys.readouterr().out)
    assert (drawn["digest"], len(drawn["items"])) == (frozen["digest"], 3)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_pages_of_the_room_work_for_the_auditor_and_each_look_is_noted(room: Engagement, ada: Principal) -> None:
    client = signed_in(User.objects.get(username="ada"))
    assert client.post("/audits/mine/requests/add/", {"title": "Minutes"}).status_code == 302
    assert client.post("/audits/mine/requests/1/", {"text": "please"}).status_code == 302
    assert client.post("/audits/mine/requests/1/", {"state": "accepted", "text": "x"}).status_code == 400
    frozen = {"title": "Actions", "slug": "actions", "entry_types": ["audit.action"]}
    assert client.post("/audits/mine/populations/add/", frozen).status_code == 302
    drawn = client.post("/audits/mine/populations/actions/", {"size": 3, "seed": "x"})
    assert drawn.status_code == 302
    sheet = drawn["Location"]
    item = SampleItem.objects.first()
    assert item is not None
    client.post(sheet, {"item": item.pk, "result": "passed"})
    assert b"1 of 3 tested" in client.get(sheet).content
    assert client.get(f"/audits/mine/populations/actions/entries/{item.seq}/").status_code == 200
    assert client.get("/audits/mine/populations/actions/entries/99999/").status_code == 404
    assert client.post("/audits/mine/findings/add/", {"title": "Gap", "severity": "minor"}).status_code == 302
    assert client.get("/audits/mine/findings/1/").status_code == 200
    page = client.get("/audits/mine/").content.decode()
    assert "For Ada" in page
    assert client.get("/audits/mine/access/").status_code == 403
    assert AuditorAccess.objects.filter(engagement=room, user__username="ada").count() >= 8
    assert (
        b"/audits/mine/requests/1/" in signed_in(User.objects.get(username="carol")).get("/audits/mine/access/").content
    )


# Pages and verbs that are nobody's audit: the auditor's own account, and what anybody may open.
OWN = {
    "portal:home",
    "portal:saved_view_list",
    "custody:own_data",
    "portal:search",
    "accounts:account",
    "accounts:password",
    "accounts:again",
    "mfa_index",
    "mfa_activate_totp",
    "mfa_generate_recovery_codes",
    "mfa_list_webauthn",
    "mfa_add_webauthn",
    "incidents:acknowledge_by_link",
    "incidents:phone_voice",
    "ledger:verifier",
    "notification-list",
    "token-list",
    "accounts:sign_in",
    "accounts:sign_out",
    "delivery:notification_list",
    "core:healthz",
    "core:readyz",
    "core:metrics",
    "schema",
}
ANYBODY = ("/api/v1/schema", "/inbound/", "/healthz", "/readyz", "/metrics", "/v1/", "/icons", "/api/v1/compliance/")
LISTS_OF_WHAT_WAS_GRANTED = ("compliance:", "compliance_")


def patterns(found: list[Any] | None = None, prefix: str = "", namespace: str = "") -> Iterator[tuple[str, str]]:
    for entry in get_resolver().url_patterns if found is None else found:
        here = prefix + str(entry.pattern).lstrip("^").rstrip("$")
        if isinstance(entry, URLResolver):
            yield from patterns(entry.url_patterns, here, f"{entry.namespace}:" if entry.namespace else namespace)
        elif isinstance(entry, URLPattern):
            yield f"{namespace}{entry.name}", here


def addressed(pattern: str) -> str:
    """Fill in the other audit's slug, and plausible values for the rest."""
    values = {
        "audits/<slug:slug>": "audits/other",
        r"audits/(?P<audit>[-\w]+)": "audits/other",
        "compliance/<slug:slug>": "compliance/iso27001",
        "<slug:requirement>": "a-5-1",
        "<slug:slug>": "audit-log-kept",
        "<slug:reference>": "pack_1",
        "<slug:population>": "actions",
    }
    for name, value in values.items():
        pattern = pattern.replace(name, value)
    pattern = re.sub(r"<int:\w+>", "1", pattern)
    pattern = re.sub(r"\(\?P<\w+>[^)]*\)", "1", pattern)
    return "/" + re.sub(r"<[^>]+>", "x1", pattern).replace("\\Z", "").replace("\\.", ".")


def test_an_auditor_tries_every_page_and_verb_and_sees_only_what_was_granted(
    room: Engagement, ada: Principal, manager: Principal
) -> None:
    """Generated from the map of addresses, so that a page that comes later is tried too."""
    other = engagement("other", manager, framework="iso27001")
    create_team(principal=SITE, slug="inference", name="Inference")
    freeze(manager, other)
    ask_for(principal=manager, engagement=other, title="Secret request of the other audit")
    raise_finding(principal=manager, engagement=other, title="Secret finding of the other audit", severity="minor")
    run_checks()
    request_export(principal=SITE, engagement=other)
    client, user = Client(raise_request_exception=False), User.objects.get(username="ada")
    opened = []
    for name, pattern in patterns():
        if name.startswith(("admin", "djdt")) or name in OWN or "static" in name:
            continue
        address = addressed(pattern)
        client.force_login(user)
        for verb in ("get", "post", "put", "patch", "delete"):
            answer = getattr(client, verb)(address)
            body = b"" if answer.streaming else answer.content
            assert b"of the other audit" not in body, f"{verb} {address} shows another audit"
            granted = name.startswith(LISTS_OF_WHAT_WAS_GRANTED) or address.startswith(ANYBODY)
            nothing = body in {b"[]", b"{}"} or b'"results":[]' in body.replace(b" ", b"")
            if answer.status_code < 300 and not granted and not nothing:
                opened.append(f"{verb} {address} ({name}) {answer.status_code}")
            if address.startswith(("/audits/other", "/api/v1/compliance/audits/other")):
                assert answer.status_code in {403, 404, 405}, f"{verb} {address} answers {answer.status_code}"
    assert not opened, "\n".join(opened)
