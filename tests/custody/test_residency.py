"""What is handed out stays where the data must stay, whoever asks by whatever address."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client
from pydantic import ValidationError

from accounts.data import Capability, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_api_token, create_user, grant_role
from catalog.models import Environment, Region, Service
from config import environment
from drivers.services.site_check import check_site
from ledger.models import Artifact, LedgerEntry
from ledger.services import ExportRefusedError, region_of, store_artifact

pytestmark = [pytest.mark.django_db]
SITE = system_principal("test")
HERE, NEAR, AWAY, NOWHERE = "10.1.2.3", "10.2.2.3", "10.9.2.3", "198.51.100.7"
LIST = "/settings/people/?format=csv"


@pytest.fixture(autouse=True)
def regions(settings: Any, tmp_path: Any) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    for slug, residency in (("eu-1", "EU"), ("eu-2", "EU"), ("us-1", "US")):
        Region.objects.create(slug=slug, name=slug, residency=residency)
    settings.REGION = "eu-1"
    settings.REGION_NETWORKS = tuple(
        (ip_network(network), region)
        for network, region in (("10.0.0.0/8", "us-1"), ("10.1.0.0/16", "eu-1"), ("10.2.0.0/16", "eu-2"))
    )


@pytest.fixture
def admin() -> User:
    user = create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=user, role=Role.ADMIN)
    return User.objects.get(pk=user.pk)


def asked_from(address: str, user: User) -> Client:
    client = Client(raise_request_exception=False, REMOTE_ADDR=address)
    client.force_login(user)
    return client


def noted() -> Iterator[dict[str, Any]]:
    for entry in LedgerEntry.objects.filter(subject="site:residency").order_by("pk"):
        yield entry.payload or {}


def test_the_narrowest_network_says_where_an_address_is() -> None:
    assert [region_of(one) for one in (HERE, NEAR, AWAY, NOWHERE, "::ffff:10.1.2.3", "unix", "")] == [
        "eu-1", "eu-2", "us-1", "", "eu-1", "", "",
    ]  # fmt: skip


def test_a_list_leaves_the_residency_only_with_a_reason(admin: User) -> None:
    for address in (HERE, NEAR):
        assert asked_from(address, admin).get(LIST).status_code == 200
    assert list(noted()) == []
    for address, says in ((AWAY, "us-1 is outside of it"), (NOWHERE, "198.51.100.7 is in no network")):
        refused = asked_from(address, admin).get(LIST)
        page = refused.content.decode()
        assert refused.status_code == 403
        assert "The data stays in EU" in page
        assert says in page
        assert 'name="export_reason"' in page, "it asks for the reason"
        assert 'name="format" value="csv"' in page, "and goes on where it was"
    sent = asked_from(AWAY, admin).get(f"{LIST}&export_reason=the+auditor+is+there")
    assert sent.status_code == 200
    first, second, third = noted()
    assert (first["action"], first["outcome"], first["address"]) == ("export.refused", "refused", AWAY)
    assert second["address"] == NOWHERE
    assert (third["action"], third["target"], third["reason"]) == (
        "export.left_residency", "/settings/people/", "the auditor is there",
    )  # fmt: skip
    assert third["after"] == {"region": "eu-1", "to_region": "us-1", "left_residency": "EU"}
    assert asked_from(AWAY, admin).get("/settings/people/").status_code == 200, "a page is read, not taken along"


def test_a_form_that_is_sent_for_a_file_is_asked_too(admin: User) -> None:
    asked = {"format": "csv"}
    assert asked_from(HERE, admin).post("/settings/audit-log/", asked).status_code == 200
    refused = asked_from(AWAY, admin).post("/settings/audit-log/", asked)
    assert refused.status_code == 403
    assert '<form method="post"' in refused.content.decode()
    assert asked_from(AWAY, admin).post("/settings/audit-log/", {**asked, "export_reason": "case 7"}).status_code == 200


def test_the_api_answers_machines_of_the_residency_and_others_with_a_reason(admin: User) -> None:
    token, secret = create_api_token(
        principal=principal_for_user(user=admin), owner=admin, name="bi", scopes=[Capability.OPERATIONS_VIEW]
    )
    assert token.pk
    machine = Client()
    bearer = {"Authorization": f"Bearer {secret}"}

    def asked(address: str, **more: str) -> Any:
        return machine.get("/api/v1/services/", headers={**bearer, **more}, REMOTE_ADDR=address)

    assert asked(HERE).status_code == 200
    for _ in range(3):
        refused = asked(AWAY)
    assert refused.status_code == 403
    assert "X-Assay-Export-Reason" in refused.json()["detail"]
    assert asked(AWAY, **{"X-Assay-Export-Reason": "the group's dashboard"}).status_code == 200
    assert [one["action"] for one in noted()] == ["export.refused", "export.left_residency"], "once an hour each"
    assert Client(REMOTE_ADDR=AWAY).get("/api/v1/schema/").status_code == 200, "how it is called is no data"


def test_behind_a_proxy_the_last_address_that_it_saw_counts(admin: User, settings: Any) -> None:
    def status(seen: str) -> int:
        return asked_from(HERE, admin).get(LIST, headers={"X-Forwarded-For": seen}).status_code

    assert status(AWAY) == 200, "nobody may say for himself where he is"
    settings.TRUST_PROXY = True
    assert status(f"{HERE}, {AWAY}") == 403
    assert status(f"{AWAY}, {HERE}") == 200


def test_a_site_that_declares_no_networks_or_no_residency_asks_nobody(admin: User, settings: Any) -> None:
    networks, settings.REGION_NETWORKS = settings.REGION_NETWORKS, ()
    assert asked_from(NOWHERE, admin).get(LIST).status_code == 200
    settings.REGION_NETWORKS = networks
    Region.objects.update(residency="")
    assert asked_from(NOWHERE, admin).get(LIST).status_code == 200


def test_the_artifact_store_lies_in_the_residency(settings: Any) -> None:
    settings.ARTIFACT_REGION = "eu-2"
    digest = store_artifact(b"x", media_type="text/plain", name="x")
    assert Artifact.objects.get(sha256=digest).region == "eu-2"
    settings.ARTIFACT_REGION = "us-1"
    with pytest.raises(ExportRefusedError, match="stays in EU"):
        store_artifact(b"y", media_type="text/plain", name="y")


def test_networks_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_REGION_NETWORKS", "10.1.0.0/16=eu-1, 2001:db8::/32=us-1")
    assert environment.Environment().assay_region_networks == (
        (ip_network("10.1.0.0/16"), "eu-1"),
        (ip_network("2001:db8::/32"), "us-1"),
    )
    for wrong in ("10.1.0.0/16", "10.1.0.0/99=eu-1"):
        monkeypatch.setenv("ASSAY_REGION_NETWORKS", wrong)
        with pytest.raises(ValidationError):
            environment.Environment()


def test_the_check_of_the_site_names_what_is_misplaced(settings: Any) -> None:
    def says() -> tuple[str, str]:
        [found] = [one for one in check_site(principal=SITE) if one.check == "residency"]
        return found.verdict.value, found.says

    assert says() == ("good", "Data stays in EU, files and answers of the API too.")
    networks, settings.REGION_NETWORKS = settings.REGION_NETWORKS, ()
    assert "ASSAY_REGION_NETWORKS" in says()[1]
    settings.REGION_NETWORKS = networks
    stage = Environment.objects.create(slug="live", name="Live")
    Service.objects.create(slug="checkout", name="x", environment=stage, region=Region.objects.get(slug="us-1"))
    assert says()[0] == "warning"
    assert "checkout must stay in US" in says()[1]
    settings.ARTIFACT_REGION = "us-1"
    assert says()[0] == "bad"
