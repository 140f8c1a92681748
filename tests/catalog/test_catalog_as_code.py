from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.data import Principal, PrincipalKind, system_principal
from catalog.data import ActivityKind
from catalog.models import Dependency, Environment, Service
from catalog.selectors import activities_between, dependents_of, service_by_slug, services_visible
from catalog.services import Applied, apply_documents, end_activity, record_deployment, start_activity
from core.parsing import InputRefusedError, load_yaml_documents
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
CATALOG = """
apiVersion: assay/v1
kind: Service
metadata: {name: gateway, title: Inference gateway}
spec: {team: inference, environment: demo, tier: 1, rto: 15m, dependsOn: [model-server]}
---
apiVersion: assay/v1
kind: Service
metadata: {name: model-server}
spec: {team: inference, environment: demo, dependsOn: [gateway]}
---
apiVersion: assay/v1
kind: Team
metadata: {name: inference}
---
apiVersion: assay/v1
kind: Environment
metadata: {name: demo}
spec: {chaosAllowed: true}
"""


def apply(text: str, *, dry_run: bool = False) -> Applied:
    return apply_documents(
        principal=SITE, documents=load_yaml_documents(text, source="c.yaml"), source="c.yaml", dry_run=dry_run
    )


def test_documents_are_applied_in_any_order_and_again_change_nothing() -> None:
    assert len(apply(CATALOG).created) == 4
    assert apply(CATALOG) == Applied(
        created=(),
        changed=(),
        unchanged=("Team inference", "Environment demo", "Service gateway", "Service model-server"),
    )
    gateway = service_by_slug(slug="gateway")
    assert gateway is not None
    assert gateway.rto == timedelta(minutes=15)
    assert Dependency.objects.count() == 2


def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    assert len(apply(CATALOG, dry_run=True).created) == 4
    assert not Service.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tier: 1", "tier: 9"), "spec.tier: found 9"),
        (
            ("team: inference, environment: demo, tier", "team: nobody, environment: demo, tier"),
            "spec.team: found nobody",
        ),
        (("kind: Team", "kind: Crew"), "kind: found Crew"),
        (("rto: 15m", "rto: soon"), "spec.rto: found soon"),
        (("tier: 1", "teir: 1"), "spec.teir"),
        (("dependsOn: [model-server]", "dependsOn: [model-sever]"), "spec.dependsOn: found model-sever"),
    ],
)
def test_a_file_with_one_mistake_changes_nothing(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        apply(CATALOG.replace(*change, 1))
    assert said in str(caught.value)
    assert not Service.objects.exists()
    assert not Environment.objects.exists()


def test_dependents_are_found_through_others_and_through_cycles() -> None:
    apply(CATALOG)
    gateway, model = Service.objects.get(slug="gateway"), Service.objects.get(slug="model-server")
    assert dependents_of(service_ids=[model.pk]) == {gateway.pk, model.pk}


def test_a_stranger_neither_sees_nor_changes_anything() -> None:
    apply(CATALOG)
    stranger = Principal(kind=PrincipalKind.USER, label="charlie", user_id=7)
    assert not services_visible(viewer=stranger).exists()
    with pytest.raises(PermissionDenied):
        apply_documents(principal=stranger, documents=[])


def test_a_deployment_is_recorded_once_with_its_change_record() -> None:
    apply(CATALOG)
    gateway = Service.objects.get(slug="gateway")
    for _ in range(2):
        record_deployment(
            principal=SITE,
            reference="d-1",
            service=gateway,
            author="alice",
            approver="bob",
            ticket="OPS-1",
            started_at=timezone.now(),
        )
    (entry,) = entries(types=["change.deployed"])
    assert entry.payload is not None
    assert entry.payload["approver"] == "bob"


def test_an_activity_is_an_interval_that_opens_and_closes_once() -> None:
    apply(CATALOG)
    gateway = Service.objects.get(slug="gateway")
    start = timezone.now()
    for _ in range(2):
        start_activity(
            kind=ActivityKind.CHAOS_RUN,
            source_key="chaos:1",
            title="freeze",
            url="",
            service_ids=[gateway.pk],
            started_at=start,
        )
    assert activities_between(start, start + timedelta(hours=1), service_id=gateway.pk).count() == 1
    end_activity(source_key="chaos:1", ended_at=start + timedelta(minutes=1))
    assert not activities_between(start + timedelta(minutes=2), start + timedelta(hours=1)).exists()
