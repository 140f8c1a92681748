"""Another latency bound, judged by the buckets that were kept."""

import itertools
import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from accounts.data import Role
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.domain.budgets import Counts
from reliability.domain.readings import ExponentialReading, HistogramReading
from reliability.domain.spreads import Spread, add_to_spread, judged_by, packed_spreads, unpacked_spreads
from reliability.models import BucketHour, SLOVersion
from reliability.selectors import what_if
from reliability.selectors.spreads import kept_edges
from reliability.services import forget_old_spreads, receive_metrics
from tests.reliability.conftest import SITE, TTFT, apply

EDGES = (0.25, 0.5, 1.0, 2.0)
bounds = st.sampled_from([-math.inf, 0.1, 0.25, 0.5, 1.0])
spreads = st.dictionaries(
    st.integers(0, 59),
    st.dictionaries(st.tuples(bounds, st.sampled_from([2.0, 5.0, math.inf])), st.integers(1, 10**9), max_size=3),
    max_size=5,
)


@given(spreads)
def test_what_is_packed_is_what_comes_back(minutes: dict[int, Spread]) -> None:
    assert unpacked_spreads(packed_spreads(minutes)) == minutes


@given(st.lists(st.floats(0.01, 4), max_size=60), st.sampled_from(EDGES))
def test_a_bound_between_buckets_is_judged_exactly(values: list[float], le: float) -> None:
    counts = [sum(1 for value in values if low < value <= high) for low, high in itertools.pairwise((-1, *EDGES, 99))]
    spread: Spread = {}
    add_to_spread(spread, HistogramReading(EDGES, tuple(counts)).bounded())
    found = judged_by(Counts(bad=len(values)), spread, le)
    good = sum(value <= le for value in values)
    assert found is not None
    assert (found.good, found.bad, found.unknown) == (good, len(values) - good, 0)


def test_a_bucket_around_the_bound_is_unknown_and_what_has_no_latency_stays_bad() -> None:
    spread: Spread = {}
    add_to_spread(spread, HistogramReading((0.5, 1.0), (5, 3, 2)).bounded())
    found = judged_by(Counts(good=8, bad=4), spread, 0.7)
    assert found is not None
    assert (found.good, found.bad, found.unknown) == (5, 4, 3)
    assert judged_by(Counts(good=1), None, 0.7) is None, "whose spread was not kept is not known"
    assert judged_by(Counts(minutes_measured=1), None, 0.7) == Counts(minutes_measured=1)


def test_exponential_buckets_have_their_bounds() -> None:
    found = ExponentialReading(scale=0, zero=2, negative=1, buckets={0: 4, 1: 3}).bounded()
    assert found == [(-math.inf, 0.0, 1), (0.0, 0.0, 2), (1.0, 2.0, 4), (2.0, 4.0, 3)]


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("catalog")
class TestStored:
    def sent(self, *, keep: bool = True) -> tuple[SLOVersion, datetime]:
        """Return an SLO at one second to which ten minutes of four buckets were sent, by growing counters."""
        annotation = 'annotations: {assay.dev/keep-buckets: "true", ' if keep else "annotations: {"
        apply(TTFT.replace("annotations: {", annotation))
        now = database_now()
        SLOVersion.objects.update(effective_from=now - timedelta(hours=1))
        version = SLOVersion.objects.get()
        for minute in range(1, 11):
            receive_metrics(request(now, minute, [10 * minute, 6 * minute, 3 * minute, minute, 0]))
        receive_metrics(request(now, 10, [100, 60, 30, 10, 0]))
        return version, now

    def test_another_bound_is_judged_over_what_was_sent_once(self) -> None:
        version, now = self.sent()
        assert kept_edges(version=version) == list(EDGES)
        found = {le: self.judged(version, now, le) for le in EDGES}
        assert {le: (one.good, one.bad, one.unknown) for le, one in found.items()} == {
            0.25: (100, 100, 0), 0.5: (160, 40, 0), 1.0: (190, 10, 0), 2.0: (200, 0, 0),
        }  # fmt: skip
        own = what_if(version=version, target=Decimal("0.9"), window=version.window, tiers=(), since=None, now=now)
        assert (own.counts.good, own.counts.bad) == (190, 10)

    def judged(self, version: SLOVersion, now: datetime, le: float) -> Counts:
        return what_if(
            version=version, target=Decimal("0.9"), window=version.window, tiers=(), since=None, now=now, le=le
        ).counts

    def test_without_asking_nothing_is_kept_and_old_hours_go(self) -> None:
        version, _ = self.sent(keep=False)
        assert not BucketHour.objects.exists()
        assert kept_edges(version=version) == []
        BucketHour.objects.create(version=version, hour=3, body=packed_spreads({}))
        assert forget_old_spreads() == 1

    def test_the_page_offers_the_bounds_that_were_kept(self) -> None:
        self.sent()
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        page = client.get("/slos/gateway-ttft/what-if/").content.decode()
        assert '<option value="0.25">0.25</option>' in page
        asked = client.get("/slos/gateway-ttft/what-if/", {"le": "0.25"}).content.decode()
        assert "good up to 0.25" in asked
        assert "50 %" in asked


def request(now: datetime, minute: int, counts: list[int]) -> Any:
    found = ExportMetricsServiceRequest()
    resource = found.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "gateway"
    metric = resource.scope_metrics.add().metrics.add(name="ttft", unit="s")
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    begin = now - timedelta(minutes=12)
    metric.histogram.data_points.add(
        start_time_unix_nano=int(begin.timestamp() * 1e9),
        time_unix_nano=int((begin + timedelta(minutes=minute)).timestamp() * 1e9),
        explicit_bounds=EDGES,
        bucket_counts=counts,
        count=sum(counts),
    )
    return found
