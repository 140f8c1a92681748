"""A control leaves openly: with a reason, and without taking its failures with it."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from compliance.data import Outcome, Window
from compliance.models import Control, Engagement, Framework, Occurrence
from compliance.selectors import requirement_standings, window_to
from compliance.services import create_engagement, load_packaged
from compliance.services.packs import pack_documents
from compliance.services.retiring import retire_control
from core.clock import database_now
from core.parsing import InputRefusedError
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
SITE = system_principal("test")
WHY = "Releases are bought, no code is written."


def control() -> Control:
    return Control.objects.get(slug="merges-reviewed")


def serving(ref: str) -> set[str]:
    now = database_now()
    (found,) = [
        one
        for one in requirement_standings(Framework.objects.get(slug="soc2"), window=window_to(now), now=now)
        if one.ref == ref
    ]
    return {one.slug for one in found.controls}


def occurrence(outcome: Outcome, *, days: int) -> Occurrence:
    now = database_now()
    return Occurrence.objects.create(
        check_run=control().checks.get(),
        key=f"entry:{days}",
        due_at=now + timedelta(days=days),
        outcome=outcome,
        check_version=1,
        evaluated_at=now,
    )


def written() -> set[str]:
    """Return the names of the documents of a pack over the last days."""
    now = database_now()
    audit = create_engagement(
        principal=SITE,
        slug=f"audit-{Engagement.objects.count()}",
        name="Audit",
        frameworks=["soc2"],
        window_start=now - timedelta(days=30),
        window_end=now + timedelta(days=1),
        scope="All of it.",
    )
    window = Window(now - timedelta(days=30), now)
    return set(pack_documents(audit, window=window, progress=lambda *_: None).documents)


def test_a_control_that_never_applied_is_gone_and_stays_so_when_the_site_is_loaded_again(manager: Principal) -> None:
    assert "merges-reviewed" in serving("CC8.1")
    retire_control(principal=manager, control=control(), reason=WHY)
    assert "merges-reviewed" not in serving("CC8.1")
    load_packaged(principal=SITE)
    assert control().retired_reason == WHY
    [entry] = entries(types=["control.retired"])
    assert entry.payload == {"control": "merges-reviewed", "reason": WHY}
    with pytest.raises(InputRefusedError, match="retired already"):
        retire_control(principal=manager, control=control(), reason=WHY)


def test_what_has_failed_counts_after_its_control_has_gone(manager: Principal, client: Client) -> None:
    occurrence(Outcome.FAILED, days=-3)
    waiting = occurrence(Outcome.PENDING, days=9)
    retire_control(principal=manager, control=control(), reason=WHY)
    assert "merges-reviewed" in serving("CC8.1")
    assert not Occurrence.objects.filter(pk=waiting.pk).exists()
    assert any("merges-reviewed" in name for name in written()), "its failure is in the pack"
    client.force_login(User.objects.get(pk=manager.user_id or 0))
    page = client.get(Engagement.objects.get().get_absolute_url()).content.decode()
    assert "merges-reviewed" in page, "and on the audit's page"
    assert "A control that was retired in the window" in page
    Control.objects.filter(slug="merges-reviewed").update(retired_at=database_now() - timedelta(days=100))
    assert "merges-reviewed" not in serving("CC8.1")


def test_the_page_asks_for_a_reason_and_shows_it(manager: Principal, client: Client) -> None:
    viewer = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=viewer, role=Role.VIEWER)
    client.force_login(User.objects.get(pk=manager.user_id or 0))
    answer = client.post("/controls/merges-reviewed/", {"reason": "no"}, follow=True).content.decode()
    assert "10 to 500 are allowed" in answer
    answer = client.post("/controls/merges-reviewed/", {"reason": WHY}, follow=True).content.decode()
    assert WHY in answer
    assert "RETIRED" in answer
    assert "merges-reviewed" not in client.get("/controls/").content.decode()
    client.force_login(viewer)
    assert client.post("/controls/access-reviewed/", {"reason": WHY}).status_code in {403, 404}
    with pytest.raises(PermissionDenied):
        retire_control(principal=principal_for_user(user=viewer), control=control(), reason=WHY)


def test_rest_takes_a_control_out_of_force_for_who_may(manager: Principal, client: Client) -> None:
    where, why = "/api/v1/compliance/controls/merges-reviewed/retire/", {"reason": WHY}
    viewer = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=viewer, role=Role.VIEWER)
    client.force_login(viewer)
    assert client.post(where, why, content_type="application/json").status_code in {403, 404}
    client.force_login(User.objects.get(pk=manager.user_id or 0))
    assert client.get(where).status_code == 405
    assert client.post(where, {"reason": "no"}, content_type="application/json").status_code == 400
    answer = client.post(where, why, content_type="application/json")
    assert (answer.status_code, answer.json()["reason"]) == (200, WHY)
    assert control().retired_at is not None
    again = client.post(where, why, content_type="application/json")
    assert "retired already" in again.content.decode()
