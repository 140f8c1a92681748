"""A small organization with something in every room, made only through the rooms' services."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.services import create_user, grant_role
from catalog.data import ActivityKind
from catalog.selectors import service_by_slug
from catalog.services import apply_documents, open_action_item, record_deployment, start_activity
from core.parsing import load_yaml_documents
from core.work import drain_all
from incidents.data import Severity
from incidents.services import Opening, open_incident

SITE = system_principal("test")
CATALOG = """
{apiVersion: assay/v1, kind: Region, metadata: {name: eu-central, title: Frankfurt}, spec: {residency: EU}}
---
{apiVersion: assay/v1, kind: Environment, metadata: {name: demo, title: Demo}, spec: {chaosAllowed: true}}
---
{apiVersion: assay/v1, kind: Team, metadata: {name: inference, title: Inference}, spec: {members: [alice, bob]}}
---
{apiVersion: assay/v1, kind: Team, metadata: {name: data, title: Data}, spec: {members: [bob]}}
---
{apiVersion: assay/v1, kind: Service, metadata: {name: gateway, title: Inference gateway,
 description: Balances completions over the model servers.},
 spec: {team: inference, environment: demo, region: eu-central, tier: 1, rto: 15m, rpo: 5m,
 dependsOn: [model-server, feature-store]}}
---
{apiVersion: assay/v1, kind: Service, metadata: {name: model-server, title: Model server},
 spec: {team: inference, environment: demo, tier: 2, dependsOn: [feature-store]}}
---
{apiVersion: assay/v1, kind: Service, metadata: {name: feature-store, title: Feature store},
 spec: {team: data, environment: demo, tier: 2}}
---
{apiVersion: assay/v1, kind: Service, metadata: {name: assay, title: Assay}, spec: {environment: demo, tier: 3}}
"""


def build(people: Mapping[str, Sequence[str]], password: str) -> None:
    """Make people, services, and what happened to them."""
    users = {
        name: create_user(
            principal=SITE,
            username=name,
            password=password,
            email=f"{name}@example.org",
            full_name=f"{name.title()} Example",
            time_zone="Europe/Berlin",
        )
        for name in people
    }
    documents = load_yaml_documents(CATALOG, source="catalog.yaml")
    apply_documents(principal=SITE, documents=documents, source="catalog.yaml")
    for name, roles in people.items():
        for role in roles:
            grant_role(principal=SITE, user=users[name], role=Role(role))
    _happenings()
    drain_all()


def _happenings() -> None:
    now = timezone.now()
    gateway, store = service_by_slug(slug="gateway"), service_by_slug(slug="feature-store")
    assert gateway is not None
    assert store is not None
    for number, hours in enumerate((130, 74, 6)):
        record_deployment(
            principal=SITE,
            reference=f"deploy-{number}",
            service=gateway,
            commit=f"{number}a1b2c3d4e5",
            ticket=f"GW-{number}",
            author="alice",
            approver="bob",
            started_at=now - timedelta(hours=hours),
            finished_at=now - timedelta(hours=hours) + timedelta(minutes=12),
        )
    start_activity(
        kind=ActivityKind.MAINTENANCE,
        source_key="maintenance:1",
        title="Disks of the feature store",
        url="",
        service_ids=[store.pk],
        started_at=now - timedelta(hours=30),
    )
    open_action_item(
        source_key="review:1:1",
        title="Alert on the queue of the gateway, not only on latency",
        owner="alice",
        service_id=gateway.pk,
        due_on=(now + timedelta(days=3)).date(),
    )
    open_incident(
        principal=SITE,
        opening=Opening(
            title="Time to first token burns its budget",
            severity=Severity.SEV2,
            service_ids=(gateway.pk,),
            team_id=gateway.team_id,
        ),
    )
