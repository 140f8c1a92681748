"""Exclusions in the browser's place: asked for with a preview, decided by another person, shown as known on a day."""

from datetime import timedelta

import pytest
from django.test import Client

from accounts.data import Role
from accounts.models import User
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.domain.budgets import Counts
from reliability.models import Exclusion, SLOVersion
from reliability.selectors import minute_of
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

pytestmark = pytest.mark.django_db


def signed_in(name: str, role: Role | None) -> Client:
    user: User = create_user(principal=SITE, username=name, password=None)
    if role is not None:
        grant_role(principal=SITE, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def version(catalog: None) -> SLOVersion:
    """Return an SLO with an outage of ten minutes."""
    apply(TTFT)
    now = database_now()
    SLOVersion.objects.update(effective_from=now - timedelta(days=1))
    found = SLOVersion.objects.get()
    end = minute_of(now)
    add_to_tallies(
        {(found.tally_id, end - ago): Counts(bad=10) if 20 <= ago < 30 else Counts(good=10) for ago in range(100)}
    )
    return found


def asked(**changes: str) -> dict[str, str]:
    now = database_now()
    return {
        "subject": "slo:gateway-ttft",
        "starts_at": f"{now - timedelta(minutes=31):%Y-%m-%dT%H:%M}",
        "ends_at": f"{now - timedelta(minutes=18):%Y-%m-%dT%H:%M}",
        "recurrence": "",
        "zone": "UTC",
        "reason": "Announced move",
        **changes,
    }


def test_the_preview_says_what_it_would_change_and_stores_nothing(version: SLOVersion) -> None:
    bob = signed_in("bob", Role.APPROVER)
    page = bob.post("/exclusions/ask/", asked(preview="1")).content.decode()
    assert '<td class="num">100</td>' in page
    assert "100.0 %" in page
    assert not Exclusion.objects.exists()
    assert version.slo.name in page


def test_one_asks_and_another_decides(version: SLOVersion) -> None:
    bob, carl = signed_in("bob", Role.APPROVER), signed_in("carl", Role.APPROVER)
    answer = bob.post("/exclusions/ask/", asked())
    exclusion = Exclusion.objects.get()
    address = f"/exclusions/{exclusion.reference}/"
    assert answer["Location"] == address
    own = bob.get(address).content.decode()
    assert "another person decides" in own
    assert 'value="approve"' not in own
    assert bob.post(address, {"decision": "approve"}).status_code == 403
    assert 'value="approve"' in carl.get(address).content.decode()
    carl.post(address, {"decision": "approve"})
    exclusion.refresh_from_db()
    assert exclusion.state == Exclusion.State.APPROVED
    assert carl.post(address, {"decision": "dance"}).status_code == 404
    page = carl.get(f"/slos/{version.slo.slug}/").content.decode()
    assert exclusion.reference in page
    yesterday = f"{database_now() - timedelta(days=2):%Y-%m-%d}"
    assert "known at the end of" in carl.get(f"/slos/{version.slo.slug}/?known_at={yesterday}").content.decode()


def test_a_change_replaces_the_one_that_was_approved(version: SLOVersion) -> None:
    bob, carl = signed_in("bob", Role.APPROVER), signed_in("carl", Role.APPROVER)
    bob.post("/exclusions/ask/", asked())
    first = Exclusion.objects.get()
    carl.post(f"/exclusions/{first.reference}/", {"decision": "approve"})
    form = bob.get(f"/exclusions/ask/?replaces={first.reference}").content.decode()
    assert "Announced move" in form
    bob.post("/exclusions/ask/", asked(replaces=first.reference, reason="Shorter than announced"))
    second = Exclusion.objects.exclude(pk=first.pk).get()
    carl.post(f"/exclusions/{second.reference}/", {"decision": "approve"})
    first.refresh_from_db()
    assert first.state == Exclusion.State.REPLACED
    assert second.reference in carl.get(f"/exclusions/{first.reference}/").content.decode()
    assert version.slo.exclusions.count() == 2


@pytest.mark.usefixtures("version")
def test_what_makes_no_sense_is_said_at_the_form() -> None:
    bob = signed_in("bob", Role.APPROVER)
    backwards = asked(ends_at=f"{database_now() - timedelta(days=3):%Y-%m-%dT%H:%M}")
    assert "an end after the start" in bob.post("/exclusions/ask/", backwards).content.decode()
    odd = bob.post("/exclusions/ask/", asked(recurrence="FREQ=SOMETIMES")).content.decode()
    assert "RRULE" in odd
    assert bob.post("/exclusions/ask/", asked(replaces="EX-99")).status_code == 404
    assert not Exclusion.objects.exists()


@pytest.mark.usefixtures("version")
def test_viewers_read_and_strangers_do_not() -> None:
    viewer, stranger = signed_in("victor", Role.VIEWER), signed_in("nobody", None)
    assert viewer.get("/exclusions/").status_code == 200
    assert b"Ask for an exclusion" not in viewer.get("/exclusions/").content
    assert viewer.get("/exclusions/ask/").status_code == 403
    assert viewer.post("/exclusions/ask/", asked()).status_code == 403
    assert viewer.get("/exclusions/EX-1/").status_code == 404
    assert stranger.get("/exclusions/").status_code == 403
    assert Client().get("/exclusions/").status_code == 302
