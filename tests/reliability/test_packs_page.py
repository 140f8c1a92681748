"""SLO packs: filled in, looked at, applied."""

import pytest
from django.test import Client

from accounts.data import Role
from accounts.services import create_user, grant_role
from reliability.models import SLO
from reliability.selectors.packs import packs
from tests.reliability.conftest import SITE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalog")]
FILLED = {"service": "gateway", "metric": "http.server.request.count"}


def signed_in(name: str, role: Role) -> Client:
    user = create_user(principal=SITE, username=name, password=None)
    grant_role(principal=SITE, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def test_every_promise_that_teams_in_ai_infrastructure_hold_has_a_pack() -> None:
    said = " ".join(
        f"{pack.title} {pack.description} {pack.filled({**pack.parameters, 'service': 'x'})}"
        for pack in packs().values()
    ).lower()
    for topic in (
        "target: 0.999}", "target: 0.9999}", "time_to_first_token", "tokens per second", "gpu", "training jobs",
        "pipeline", "freshness", "drift", "correct", "target: 0.995", "two minutes", "le: 120", "hour",
    ):  # fmt: skip
        assert topic in said, topic


def test_a_pack_is_filled_in_looked_at_and_applied() -> None:
    admin = signed_in("ada", Role.ADMIN)
    page = admin.get("/slo-packs/").content.decode()
    assert all(pack.title in page for pack in packs().values())
    preview = admin.post("/slo-packs/api-availability/", {**FILLED, "preview": "1"}).content.decode()
    assert "What applying would do" in preview
    assert "gateway-availability" in preview
    assert not SLO.objects.exists()
    assert admin.post("/slo-packs/api-availability/", FILLED)["Location"] == "/slos/"
    assert SLO.objects.get().slug == "gateway-availability"
    again = admin.post("/slo-packs/api-availability/", {**FILLED, "preview": "1"}).content.decode()
    assert "Unchanged" in again


def test_what_cannot_be_filled_in_is_said_at_the_form() -> None:
    admin = signed_in("ada", Role.ADMIN)
    odd = admin.post("/slo-packs/api-availability/", {**FILLED, "metric": "a}, x: {b"}).content.decode()
    assert "are allowed" in odd
    assert admin.post("/slo-packs/api-availability/", {**FILLED, "service": "nothing"}).status_code == 200
    assert admin.get("/slo-packs/nothing/").status_code == 404
    assert not SLO.objects.exists()


def test_viewers_read_packs_and_apply_none() -> None:
    victor = signed_in("victor", Role.VIEWER)
    assert "Apply" not in victor.get("/slo-packs/api-availability/").content.decode().split("record-form")[0][-200:]
    assert victor.post("/slo-packs/api-availability/", FILLED).status_code == 403
    assert b"Start from a pack" not in victor.get("/slos/").content
    assert Client().get("/slo-packs/").status_code == 302
