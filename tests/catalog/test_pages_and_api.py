"""Pages, REST and commands of the catalog."""

from pathlib import Path

import pytest
from django.test import Client
from django_typer.management import get_command

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.services import create_user, grant_role
from catalog.models import Deployment, Service
from catalog.services import apply_documents
from core.parsing import load_yaml_documents
from ledger.selectors import entries

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:In Typer, only the parameter:DeprecationWarning"),
]
SITE = system_principal("test")
CATALOG = """
apiVersion: assay/v1
kind: Environment
metadata: {name: demo}
---
apiVersion: assay/v1
kind: Service
metadata: {name: gateway, title: Gateway}
spec: {environment: demo, tier: 1}
"""
BODY = {
    "reference": "ci-1",
    "service": "gateway",
    "author": "alice",
    "approver": "bob",
    "ticket": "T-1",
    "started_at": "2026-11-01T10:00:00Z",
}


@pytest.fixture
def organization() -> None:
    apply_documents(principal=SITE, documents=load_yaml_documents(CATALOG, source="catalog.yaml"))


def client_of(username: str, *roles: Role) -> Client:
    user: User = create_user(principal=SITE, username=username, password=None, full_name=username)
    for role in roles:
        grant_role(principal=SITE, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def test_a_pipeline_records_a_deployment_once(organization: None) -> None:
    client = client_of("root", Role.ADMIN)
    for _ in range(2):
        answer = client.post("/api/v1/deployments/", BODY, content_type="application/json")
        assert answer.status_code == 201, answer.json()
    assert Deployment.objects.count() == 1
    assert entries(types=["change.deployed"]).count() == 1
    assert client.get("/deployments/ci-1/").status_code == 200
    assert client.get("/api/v1/deployments/").json()["results"][0]["service"] == "gateway"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"service": "nothing"}, "the slug of a service"),
        ({"started_at": "2026-11-01T10:00:00"}, "with its zone"),
        ({"colour": "red"}, "not known"),
    ],
)
def test_a_body_that_is_wrong_is_refused_whole(organization: None, change: dict[str, str], words: str) -> None:
    client = client_of("root", Role.ADMIN)
    answer = client.post("/api/v1/deployments/", {**BODY, **change}, content_type="application/json")
    assert answer.status_code == 400
    assert words in answer.json()["problems"][0]["allowed"]
    assert not Deployment.objects.exists()


def test_a_viewer_records_no_deployment(organization: None) -> None:
    client = client_of("victor", Role.VIEWER)
    assert client.post("/api/v1/deployments/", BODY, content_type="application/json").status_code == 403
    assert client.get("/api/v1/services/").json()["results"][0]["slug"] == "gateway"


@pytest.mark.parametrize("page", ["/teams/", "/deployments/", "/actions/"])
def test_a_list_opens_for_a_viewer_and_not_for_a_stranger(page: str, organization: None) -> None:
    assert client_of("victor", Role.VIEWER).get(page).status_code == 200
    assert client_of("charlie").get(page).status_code == 403


def test_the_command_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text(CATALOG)
    get_command("catalog", "apply")([file], dry_run=True)
    assert not Service.objects.exists()
    get_command("catalog", "apply")([file])
    assert Service.objects.get().slug == "gateway"
