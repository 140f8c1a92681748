"""All kinds of OpenSLO v1: applied, exported, applied again to the same; diff and prune; what is refused, and where."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.exceptions import PermissionDenied

from accounts.data import Role, system_principal
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from catalog.selectors import service_by_slug
from core.parsing import InputRefusedError, load_yaml_documents
from ledger.selectors import entries
from reliability.models import SLO, DataSource, Definition, SLOVersion
from reliability.selectors import documents_as_yaml, export_documents
from reliability.services import apply_documents
from tests.reliability.conftest import apply

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("catalog")]
EVERYTHING = (Path(__file__).parent / "openslo_everything.yaml").read_text()


def changed(outcome: dict[str, list[str]]) -> list[str]:
    return outcome["created"] + outcome["changed"] + outcome["pruned"]


def test_every_kind_is_applied_and_exported_to_the_same() -> None:
    names = apply(EVERYTHING)["created"]
    assert {name.split()[0] for name in names} == {
        "Service",
        "DataSource",
        "SLI",
        "AlertNotificationTarget",
        "AlertCondition",
        "AlertPolicy",
        "SLO",
    }
    exported = documents_as_yaml(export_documents())
    assert changed(apply(exported)) == []
    assert {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(exported)} == {
        (one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(EVERYTHING)
    }


def test_one_slo_is_exported_with_what_it_refers_to() -> None:
    apply(EVERYTHING)
    kinds = [(one["kind"], one["metadata"]["name"]) for one in export_documents(names=["by-reference"])]
    assert kinds == [
        ("Service", "checkout"),
        ("DataSource", "metrics"),
        ("SLI", "requests"),
        ("AlertNotificationTarget", "on-call"),
        ("AlertCondition", "fast"),
        ("AlertPolicy", "fast"),
        ("SLO", "by-reference"),
    ]


def test_a_service_that_the_catalog_does_not_know_is_added_to_it() -> None:
    apply(EVERYTHING)
    service = service_by_slug(slug="checkout")
    assert service is not None
    assert (service.environment.slug, service.tier) == ("demo", 1)


def test_what_an_slo_promises_is_kept_whole() -> None:
    apply(EVERYTHING)
    several = SLOVersion.objects.get(slo__slug="several")
    assert [str(one.target.normalize()) for one in several.all_objectives] == ["0.99", "0.999"]
    assert [one.label for one in several.all_windows] == ["28d", "7d", "90d"]
    slices = SLOVersion.objects.get(slo__slug="fresh")
    assert (slices.method, slices.all_objectives[0].slice_minutes) == ("Timeslices", 5)
    assert slices.indicator["op"] == "lte"


def test_a_composite_counts_by_hidden_parts_that_go_on_when_its_target_changes() -> None:
    apply(EVERYTHING)
    parts = list(SLO.objects.filter(part_of__slug="journey").order_by("slug").values_list("slug", flat=True))
    assert parts == ["journey--part-1", "journey--part-2"]
    composite = SLOVersion.objects.get(slo__slug="journey")
    assert composite.is_composite
    assert composite.target == Decimal("0.98")
    documents = [one for one in export_documents() if one["metadata"]["name"] == "journey"]
    documents[0]["spec"]["objectives"][0]["target"] = 0.98
    apply(documents_as_yaml(documents))
    newer = SLOVersion.objects.get(slo__slug="journey", retired_at__isnull=True)
    assert (newer.number, newer.counts_with) == (2, composite)


def test_a_dry_run_shows_the_difference_and_changes_nothing() -> None:
    apply(EVERYTHING)
    text = EVERYTHING.replace("target: 0.999", "target: 0.998")
    outcome = apply_documents(
        principal=system_principal("test"),
        documents=load_yaml_documents(text, source="slo.yaml"),
        source="slo.yaml",
        dry_run=True,
    )
    assert outcome["changed"] == ["SLO several"]
    assert "-  - target: 0.999" in outcome["diff"][0]
    assert "+  - target: 0.998" in outcome["diff"][0]
    assert SLOVersion.objects.get(slo__slug="several").number == 1


def test_pruning_retires_what_is_not_named_and_keeps_its_history() -> None:
    apply(EVERYTHING)
    rest = [one for one in yaml.safe_load_all(EVERYTHING) if one["metadata"]["name"] not in {"several", "journey"}]
    outcome = apply_documents(
        principal=system_principal("test"),
        documents=load_yaml_documents(documents_as_yaml(rest), source="slo.yaml"),
        prune=True,
    )
    assert sorted(outcome["pruned"]) == ["SLO journey", "SLO several"]
    assert not SLOVersion.objects.filter(retired_at__isnull=True, slo__slug__startswith="journey").exists()
    assert SLO.objects.filter(slug="several").exists()
    assert entries(types=["slo.retired"]).count() == 2
    assert sorted(apply(EVERYTHING)["created"]) == ["SLO journey", "SLO several"]
    assert SLOVersion.objects.get(slo__slug="several", retired_at__isnull=True).number == 2


def test_a_data_source_allows_its_host_for_an_administrator_and_that_is_recorded() -> None:
    apply(EVERYTHING)
    assert DataSource.objects.get(slug="metrics").allow_private
    payload: Any = entries(types=["slo.data_source_declared"]).get().payload
    assert (payload["host"], payload["host_allowed"]) == ("127.0.0.1", True)


def test_whoever_may_not_edit_slos_connects_nothing() -> None:
    user = create_user(principal=system_principal("test"), username="bob", password=None)
    grant_role(principal=system_principal("test"), user=user, role=Role.VIEWER)
    with pytest.raises(PermissionDenied, match="bob may not"):
        apply_documents(
            principal=principal_for_user(user=user), documents=load_yaml_documents(EVERYTHING, source="slo.yaml")
        )
    assert not DataSource.objects.exists()


def test_secrets_of_a_source_are_masked_when_shown_and_kept_when_the_mask_is_applied() -> None:
    apply(EVERYTHING)
    documents = [one for one in export_documents() if one["kind"] == "DataSource"]
    assert documents[0]["spec"]["connectionDetails"]["bearerToken"] == "***"
    assert "s3cret" not in str(Definition.objects.values_list("document", flat=True))
    assert changed(apply(documents_as_yaml(documents))) == []
    assert DataSource.objects.get().settings.bearer_token.get_secret_value() == "s3cret"


def test_an_alert_that_fires_below_is_read_as_above_and_said() -> None:
    outcome = apply(EVERYTHING.replace("op: gt,", "op: lte,"))
    assert outcome["warnings"] == ["AlertPolicy fast: op lte is read as gte: it fires above the threshold."]
    assert SLOVersion.objects.get(slo__slug="by-reference").tiers[0]["inclusive"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("counter: true", "countr: true", "ratioMetric.countr"),
        ("{query: requests_total}", "{query: requests_total, step: 5}", "spec.step"),
        ("budgetingMethod: Timeslices", "budgetingMethod: Occurrences", "timeSliceWindow has no place"),
        ("timeSliceWindow: 5m", "timeSliceWindow: 5s", "timeSliceWindow"),
        ("compositeWeight: 3", "compositeWeight: 0", "compositeWeight"),
        ("op: lte, value: 10, ", "", "needs both"),
        ("7d; 90d", "7d; 90x", "rolling windows as"),
        ("kind: AlertNotificationTarget", "kind: AlertNotifTarget", "kind: found AlertNotifTarget"),
        ("targetRef: on-call", "targetRef: nobody", "nobody"),
        ("rawType: failure", "rawType: both", "rawType"),
        ("        rawType: failure\n", "", "raw and rawType stand together"),
        ("counter: true", "counter: false", "counter must be true"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_nothing_is_applied(old: str, new: str, said: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        apply(EVERYTHING.replace(old, new))
    assert said in str(refused.value)
    assert not SLO.objects.exists()


def test_a_ratio_that_the_source_made_is_a_million_units_a_minute_and_approximate() -> None:
    apply(EVERYTHING)
    indicator = SLO.objects.get(slug="ready-made").versions.get().indicator
    assert indicator["expression"] is True
    assert "bad" in indicator
    assert indicator["bad"] == (
        "1000000 * clamp(avg(avg_over_time((service:failures:ratio)[$window:10s])), 0, 1)"
    )  # fmt: skip
    sent = EVERYTHING.replace(
        "{metricSourceRef: metrics, spec: {query: 'service:failures:ratio'}}", "{type: otlp, spec: {metric: x}}"
    )
    with pytest.raises(InputRefusedError, match="has lost its events"):
        apply(sent)


def test_an_unknown_key_is_named_with_its_line() -> None:
    line = next(n for n, text in enumerate(EVERYTHING.splitlines(), start=1) if "description: Answered" in text)
    with pytest.raises(InputRefusedError) as refused:
        apply(EVERYTHING.replace("description: Answered", "descripton: Answered"))
    assert f":{line} spec.descripton" in str(refused.value)
