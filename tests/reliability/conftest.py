import pytest

from accounts.data import system_principal
from catalog.services import apply_documents as apply_catalog
from core.parsing import load_yaml_documents
from reliability.domain.budgets import Counts
from reliability.models import SLO, SLOVersion, TallyBlock, TallyDay, TallyShelf
from reliability.selectors.tallies import tally_minutes
from reliability.services import apply_documents

SITE = system_principal("test")
CATALOG = """
apiVersion: assay/v1
kind: Environment
metadata: {name: demo}
---
apiVersion: assay/v1
kind: Service
metadata: {name: gateway}
spec: {environment: demo}
"""
TTFT = """
apiVersion: openslo/v1
kind: SLO
metadata:
  name: gateway-ttft
  displayName: First token within a second
  annotations: {assay.dev/burn-tiers: "fast critical 5m/2m >2 min 10"}
spec:
  service: gateway
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.95}]
  indicator:
    metadata: {name: gateway-ttft}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: otlp
            spec: {metric: ttft, resource: {service.name: gateway}, le: 1.0}
        total:
          metricSource:
            type: otlp
            spec: {metric: ttft, resource: {service.name: gateway}}
"""


def apply(text: str) -> dict[str, list[str]]:
    return apply_documents(principal=SITE, documents=load_yaml_documents(text, source="slo.yaml"), source="slo.yaml")


def forget_tallies() -> None:
    """Drop everything that was counted."""
    for model in (TallyBlock, TallyDay, TallyShelf):
        model.objects.all().delete()


def minutes_of(version: SLOVersion) -> list[tuple[int, Counts]]:
    """Every measured minute with its events."""
    return tally_minutes(version.tally_id, start_minute=0, end_minute=2**26)


@pytest.fixture
def catalog(db: None) -> None:
    apply_catalog(principal=SITE, documents=load_yaml_documents(CATALOG, source="catalog.yaml"))


@pytest.fixture
def version(catalog: None) -> SLOVersion:
    apply(TTFT)
    return SLO.objects.get(slug="gateway-ttft").versions.get()
