import pytest

from core.parsing import InputRefusedError
from ledger.selectors import entries
from reliability.models import SLO, SLOVersion
from tests.reliability.conftest import TTFT, apply

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("catalog")]


def test_a_changed_definition_is_a_new_version_and_each_is_recorded() -> None:
    assert apply(TTFT)["created"] == ["SLO gateway-ttft"]
    assert apply(TTFT)["unchanged"] == ["SLO gateway-ttft"]
    assert apply(TTFT.replace("0.95", "0.9"))["changed"] == ["SLO gateway-ttft"]
    assert [(v.number, v.retired_at is None) for v in SLOVersion.objects.order_by("number")] == [
        (1, False),
        (2, True),
    ]
    assert entries(types=["slo.declared"]).count() == 2


def test_without_an_annotation_the_workbook_s_tiers_are_used() -> None:
    apply(
        TTFT.replace('annotations: {assay.dev/burn-tiers: "fast critical 5m/2m >2 min 10"}', "annotations: {}").replace(
            "0.95", "0.99"
        )
    )
    tiers = SLOVersion.objects.get().tiers
    assert [(tier["name"], round(tier["threshold"], 2)) for tier in tiers] == [
        ("fast", 13.44),
        ("slow", 5.6),
        ("day", 2.8),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("target: 0.95", "target: 1.0"), "spec.objectives[0].target: found 1.0"),
        (("service: gateway\n", "service: gatewya\n"), "spec.service: found gatewya"),
        ((">2 min", ">25 min"), "could never fire"),
        (("5m/2m", "2m/5m"), "shorter"),
        (("fast critical", "fast urgent"), "tiers as"),
        (("28d", "1M"), "days (d) or weeks (w)"),
        (("counter: true", "counter: true\n        raw: 1"), "raw"),
        (
            ("spec: {metric: ttft, resource: {service.name: gateway}, le: 1.0}", "spec: {metric: other}"),
            "must narrow total",
        ),
    ],
)
def test_a_document_with_a_mistake_changes_nothing(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        apply(TTFT.replace(*change, 1))
    assert said in str(caught.value)
    assert not SLO.objects.exists()
