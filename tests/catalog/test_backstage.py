import pytest

from accounts.data import system_principal
from accounts.selectors import team_by_slug
from accounts.services import create_team, create_user, set_team_members
from catalog.models import Environment
from catalog.selectors import dependencies, service_by_slug
from catalog.services import Applied, apply_documents
from core.parsing import InputRefusedError, load_yaml_documents

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
ENTITIES = """
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: Gateway
  title: Inference gateway
  labels: {anything: goes}
  annotations: {assay.dev/tier: "1", assay.dev/rto: 15m, github.com/project-slug: acme/gateway}
spec:
  type: service
  lifecycle: production
  owner: inference
  system: serving
  dependsOn: [component:model_server, "resource:data/features"]
  consumesApis: [accounts-api]
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: model_server}
spec: {type: service, lifecycle: experimental, owner: user:jane, providesApis: []}
---
apiVersion: backstage.io/v1beta1
kind: Resource
metadata: {name: features, namespace: data}
spec: {type: database, owner: group:default/inference}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: accounts}
spec: {type: service, lifecycle: production, owner: inference, providesApis: [accounts-api]}
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: inference}
spec: {type: team, profile: {displayName: Inference team}, children: [], members: [jane]}
---
apiVersion: backstage.io/v1alpha1
kind: System
metadata: {name: serving}
spec: {owner: inference}
"""


@pytest.fixture(autouse=True)
def environment() -> Environment:
    return Environment.objects.create(slug="demo", name="Demo")


def apply(text: str, *, dry_run: bool = False) -> Applied:
    return apply_documents(
        principal=SITE, documents=load_yaml_documents(text, source="catalog-info.yaml"), dry_run=dry_run
    )


def test_components_resources_and_groups_become_services_and_teams() -> None:
    applied = apply(ENTITIES)
    gateway = service_by_slug(slug="gateway")
    assert gateway is not None
    assert (gateway.name, gateway.tier, gateway.environment.slug) == ("Inference gateway", 1, "demo")
    assert gateway.team is not None
    assert gateway.team.name == "Inference team"
    assert {needed for consumer, needed in dependencies() if consumer == "gateway"} == {
        "model-server",
        "data-features",
        "accounts",
    }
    model_server = service_by_slug(slug="model-server")
    assert model_server is not None
    assert (model_server.lifecycle, model_server.team) == ("experimental", None)
    said = "\n".join(applied.notes)
    assert "system:default/serving: left out" in said
    assert "is owned by user:default/jane" in said
    assert "members" in said
    assert not apply(ENTITIES).created


def test_who_is_in_a_team_is_not_decided_by_a_backstage_file() -> None:
    create_user(principal=SITE, username="alice", password=None)
    set_team_members(principal=SITE, team=create_team(principal=SITE, slug="inference", name="I"), usernames=["alice"])
    apply(ENTITIES)
    team = team_by_slug(slug="inference")
    assert team is not None
    assert list(team.members.values_list("username", flat=True)) == ["alice"]


def test_a_dry_run_shows_each_field_before_and_after() -> None:
    apply(ENTITIES)
    applied = apply(
        ENTITIES.replace('tier: "1"', 'tier: "2"').replace("owner: user:jane", "owner: inference"), dry_run=True
    )
    found = {(one.name, one.field): (one.before, one.after) for one in applied.differences}
    assert found == {
        ("Service gateway", "tier"): ("1", "2"),
        ("Service model-server", "team"): ("none", "inference"),
    }
    gateway = service_by_slug(slug="gateway")
    assert gateway is not None
    assert gateway.tier == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('tier: "1"', 'tier: "9"'), "tier: found 9"),
        (("assay.dev/tier", "assay.dev/teir"), "found assay.dev/teir; known are"),
        (("component:model_server", "model_server"), "a reference as kind:namespace/name is allowed"),
        (("component:model_server", "component:nothing"), "dependsOn: found nothing"),
        (("kind: System", "kind: Spaceship"), "kind: found Spaceship"),
        (("name: accounts}", "name: gateway}"), "found two entities named gateway"),
        (("name: Gateway", 'name: "../etc"'), "metadata.name: found ../etc"),
        (("lifecycle: production", f"lifecycle: {'x' * 50}"), "spec.lifecycle"),
    ],
)
def test_a_file_with_one_mistake_changes_nothing(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        apply(ENTITIES.replace(*change, 1))
    assert said in str(caught.value)
    assert service_by_slug(slug="accounts") is None
    assert team_by_slug(slug="inference") is None


def test_where_there_are_two_environments_the_file_must_say_which() -> None:
    Environment.objects.create(slug="staging", name="Staging")
    with pytest.raises(InputRefusedError, match=r"assay.dev/environment is required"):
        apply(ENTITIES)
