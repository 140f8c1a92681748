"""A seeded world of known truth in real stores: what Assay counts must equal it, minute by minute."""

import random
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from reliability.domain.budgets import Counts
from reliability.models import Backfill, Collection, SLOVersion
from reliability.selectors import counts_between, data_statuses
from reliability.services import refresh, run_backfills
from tests.reliability.conftest import apply, minutes_of
from tests.reliability.test_prometheus import SLO_YAML
from tests.reliability.worlds import Row, Truth, make_world, remote_write, server

HOURS = 6
LATE_POD = "pod-1"


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def fill(url: str, rows: list[Row]) -> None:
    for begin in range(0, len(rows), 4000):
        remote_write(url, rows[begin : begin + 4000])


def wanted(truth: Truth) -> dict[int, tuple[int, int, int]]:
    minutes = sorted({*truth.good, *truth.bad, *truth.unknown})
    found = {m: (truth.good.get(m, 0), truth.bad.get(m, 0), truth.unknown.get(m, 0)) for m in minutes}
    return {minute: counts for minute, counts in found.items() if any(counts)}


def declared(url: str, *, at: datetime, since: datetime) -> SLOVersion:
    """An SLO as it would be had it been declared at an earlier instant, with its history to be read."""
    apply(SLO_YAML.replace("URL", url))
    version = SLOVersion.objects.get()
    SLOVersion.objects.filter(pk=version.pk).update(effective_from=at)
    Collection.objects.update(watermark=at, begins_at=at)
    Backfill.objects.update(since=since, until=at, position=since)
    return SLOVersion.objects.get()


@pytest.mark.integration
@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "seed"), [("prometheus", 1), ("prometheus", 2), ("victoriametrics", 3)])
def test_counts_equal_the_truth_wherever_samples_prove_it(catalog: None, tmp_path: Path, kind: str, seed: int) -> None:
    binary = {"prometheus": "prometheus", "victoriametrics": "victoria-metrics"}[kind]
    if shutil.which(binary) is None:
        pytest.skip(f"{binary} is not installed")
    end = int(time.time()) // 60 * 60 - 180
    begin, middle = end - HOURS * 3600, end - HOURS * 1800 + 7
    rows, truth = make_world(seed=seed, begin=begin, end=end)
    with server(kind, tmp_path) as (url, _):
        fill(url, [row for row in rows if row.time <= middle])
        settle_down(url, kind)
        version = declared(url, at=instant(middle), since=instant(begin - 600))
        assert run_backfills(list(Backfill.objects.all()), say=lambda _: None, sleep=time.sleep) == []
        later = [row for row in rows if row.time > middle]
        read_as_it_comes(url, kind, later, version, seed=seed, begin=middle, end=end)
        found = {minute: (one.good, one.bad, one.unknown) for minute, one in minutes_of(version) if one.total}
        assert found == wanted(truth)
        counts = counts_between(version=version, start_minute=begin // 60, end_minute=end // 60 + 1)
        assert counts.unknown_low == 0
        assert counts.total + truth.lost == truth.happened
        # An event of unknown outcome is within the bounds: the truth is never outside them.
        assert counts.bad <= truth.happened_bad <= counts.bad + counts.unknown + truth.lost
        (status,) = data_statuses([SLOVersion.objects.get()]).values()
        assert (status.state, status.mode, status.failures) == ("OK", "exact", 0)
        if kind == "prometheus":
            the_usual_way_is_off(url, counts, seconds=HOURS * 3600, at=end)


def read_as_it_comes(
    url: str, kind: str, rows: list[Row], version: SLOVersion, *, seed: int, begin: int, end: int
) -> None:
    """Write and read in turns; one pod's samples always arrive a minute late, some stretches are read twice."""
    chance = random.Random(seed)
    held: list[Row] = []
    at = begin
    while at < end:
        upto = min(at + chance.randrange(300, 2400), end)
        fresh = [row for row in rows if at < row.time <= upto]
        late = (
            [] if upto == end else [r for r in fresh if r.time > upto - 60 and dict(r.labels)["instance"] == LATE_POD]
        )
        fill(url, [*held, *(row for row in fresh if row not in late)])
        settle_down(url, kind)
        assert refresh(versions=[version], until=instant(upto), sleep=time.sleep) == {}
        if chance.random() < 0.5:
            assert refresh(versions=[version], until=instant(upto), sleep=time.sleep) == {}
        held, at = late, upto


def settle_down(url: str, kind: str) -> None:
    """VictoriaMetrics shows what was written only once it has flushed it."""
    if kind == "victoriametrics":
        requests.get(f"{url}/internal/force_flush", timeout=30).raise_for_status()


def the_usual_way_is_off(url: str, counts: Counts, *, seconds: int, at: int) -> None:
    """What `increase` says of the same samples; it never sees the events of a series that was just born."""

    def ask(query: str) -> float:
        answer = requests.get(f"{url}/api/v1/query", params={"query": query, "time": str(at)}, timeout=30).json()
        return float(answer["data"]["result"][0]["value"][1])

    bad = ask(f'sum(increase(http_requests_total{{code=~"5.."}}[{seconds}s]))')
    total = ask(f"sum(increase(http_requests_total[{seconds}s]))")
    mean = ask(
        'avg_over_time((sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m])))'
        f"[{seconds}s:5m])"
    )
    exact = counts.bad / (counts.good + counts.bad)
    assert bad < counts.bad - 1
    assert abs(bad / total - exact) > 0.001 * exact
    assert abs(mean - exact) > 0.001 * exact


class StoppedError(Exception):
    """Stands for the end of a process."""


@pytest.mark.integration
@pytest.mark.django_db
def test_a_backfill_goes_on_where_it_stopped_and_counts_nothing_twice(catalog: None, tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    end = int(time.time()) // 60 * 60 - 120
    begin = end - 3 * 86_400
    rows = [
        Row((("__name__", name), ("instance", "a"), ("job", "world"), *more), at, value)
        for at in range(begin, end, 300)
        for name, more, value in (
            ("up", (), 1.0),
            ("http_requests_total", (("code", "200"),), float((at - begin) // 300 * 10)),
        )
    ]
    with server("prometheus", tmp_path) as (url, _):
        fill(url, rows)
        version = declared(url, at=instant(end), since=instant(begin + 60))
        row = Backfill.objects.get()

        def stop(ratio: float) -> None:
            if ratio > 0.3:
                raise StoppedError

        with pytest.raises(StoppedError):
            run_backfills([row], say=stop, sleep=time.sleep)
        row.refresh_from_db()
        assert instant(begin) < row.position < instant(end)
        Backfill.objects.update(lease_until=None, lease_owner="")
        for _ in range(2):
            assert run_backfills([row], say=lambda _: None, sleep=time.sleep) == []
        version = SLOVersion.objects.get()
        counts = counts_between(version=version, start_minute=begin // 60, end_minute=end // 60)
        assert counts.good == 10 * (len(rows) // 2 - 1)
        assert version.counted_from == instant(begin + 60)
        assert counts.minutes_measured > 3 * 1440 - 15
        assert Collection.objects.get().begins_at == version.counted_from
        assert timedelta(0) < version.effective_from - version.counted_from
