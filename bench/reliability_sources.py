"""What reading a real Prometheus costs, its own share included, beside the recording rules of the usual generator.

`bench/reliability.py refresh backfill` runs these parts.
"""

# ruff: noqa: PLC0415 Django is imported only once the environment that its settings read is set

import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.reliability.worlds import Row, remote_write, server

Say = Callable[..., None]
RULE_DAYS = 3
BAD, TOTAL = 'http_requests_total{code=~"5.."}', "http_requests_total"
SCRAPE_SECONDS = 15
RULE_SLOS = 100
RULE_INTERVAL = 30
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
SOURCE = """
apiVersion: openslo/v1
kind: DataSource
metadata: {name: bench}
spec: {type: Prometheus, connectionDetails: {url: "URL"}}
"""
SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: slo-NUMBER, annotations: {assay.dev/burn-tiers: none}}
spec:
  service: bench
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.999}]
  indicator:
    metadata: {name: slo-NUMBER}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {metricSourceRef: bench, spec: {query: 'requests_total{slo="NUMBER",code="500"}'}}}
        total: {metricSource: {metricSourceRef: bench, spec: {query: 'requests_total{slo="NUMBER"}'}}}
"""


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def fill(url: str, *, slos: int, begin: int, end: int, step: int) -> None:
    """Write two counters for each SLO, requests that go well and some that do not: half an hour of all at a time."""
    chance = random.Random(11)
    values: dict[tuple[tuple[str, str], ...], tuple[int, float]] = {
        (("__name__", "requests_total"), ("code", code), ("instance", "a"), ("job", "bench"), ("slo", str(number))): (
            most,
            0.0,
        )
        for number in range(slos)
        for code, most in (("200", 600), ("500", 2))
    }
    ups = (("__name__", "up"), ("instance", "a"), ("job", "bench"))
    for slice_begin in range(begin, end, 1800):
        times = range(slice_begin, min(slice_begin + 1800, end), step)
        rows = [Row(ups, at, 1.0) for at in times]
        for labels, (most, known) in values.items():
            value = known
            for at in times:
                value += chance.randrange(most)
                rows.append(Row(labels, at, value))
            values[labels] = (most, value)
            if len(rows) > 40_000:
                remote_write(url, rows)
                rows = []
        remote_write(url, rows)


def declare(url: str, *, slos: int, watermark: datetime, since: datetime) -> None:
    """Declare SLOs as if it had been done at an earlier instant."""
    texts = [SLO.replace("NUMBER", str(number)) for number in range(slos)]
    _declare_texts(url, texts, watermark=watermark, since=since.timestamp())


def _declare_texts(url: str, texts: list[str], *, watermark: datetime, since: float) -> None:
    from accounts.data import system_principal
    from core.parsing import LineIndex
    from reliability.models import Backfill, Collection
    from reliability.services import apply_documents

    documents = [(yaml.safe_load(text), LineIndex({})) for text in (SOURCE.replace("URL", url), *texts)]
    apply_documents(principal=system_principal("bench"), documents=documents, source="bench")
    begin = datetime.fromtimestamp(since, UTC)
    Collection.objects.update(watermark=watermark, begins_at=watermark)
    Backfill.objects.update(since=begin, until=watermark, position=begin)


@contextmanager
def filled(
    *, slos: int, seconds: int, step: int, long: int = 0, long_seconds: int = 0
) -> Iterator[tuple[str, int, int, Path]]:
    """Run a Prometheus that holds `seconds` of history up to now; yields address, process, end and folder.

    The first `long` SLOs have `long_seconds` of it.
    """
    from reliability import models

    models.SLO.objects.all().delete()
    models.DataSource.objects.all().delete()
    with tempfile.TemporaryDirectory(prefix="bench-prometheus-") as name:
        folder = Path(name)
        with server("prometheus", folder) as (url, pid):
            end = int(time.time()) // 60 * 60 - 60
            if long:
                fill(url, slos=long, begin=end - long_seconds, end=end - seconds, step=step)
            fill(url, slos=slos, begin=end - seconds, end=end + 1, step=step)
            yield url, pid, end, folder


def bench_refresh(say: Say, slos: int = 1000) -> None:
    """Refresh by the minute, then let the usual rules run over the same samples."""
    from reliability.models import SLOVersion
    from reliability.services import refresh

    rounds = 10
    history = {"long": RULE_SLOS, "long_seconds": RULE_DAYS * 86_400}
    with filled(slos=slos, seconds=3600, step=SCRAPE_SECONDS, **history) as (url, pid, end, folder):
        begin = datetime.fromtimestamp(end - (rounds + 2) * 60, UTC)
        declare(url, slos=slos, watermark=begin, since=begin - timedelta(minutes=1))
        versions = list(SLOVersion.objects.filter(data_source__isnull=False))
        at = begin
        spent: list[tuple[float, float]] = []
        for number in range(rounds + 2):
            at += timedelta(minutes=1)
            own, theirs = own_cpu(), cpu_of(pid)
            if refresh(versions=versions, until=at, sleep=time.sleep):
                raise RuntimeError("a source could not be read")
            if number > 1:
                spent.append((own_cpu() - own, cpu_of(pid) - theirs))
        ours, theirs = min(one for one, _ in spent), sum(one for _, one in spent) / len(spent)
        each = (ours + theirs) / slos * 1000
        usual = _usual_rules(url, pid, folder) * 1000
        say(
            "refresh_a_minute",
            each,
            "ms CPU/SLO",
            slos=slos,
            prometheus=round(theirs / slos * 1000, 4),
            at_most=0.5,
        )
        say(
            "usual_rules_an_evaluation",
            usual,
            "ms CPU/SLO",
            slos=RULE_SLOS,
            ratio=round(usual / each, 1),
            at_least=30,
            days=RULE_DAYS,
        )


def _usual_rules(url: str, pid: int, folder: Path) -> float:
    """Return the CPU seconds of one evaluation of an SLO's usual recording and alerting rules."""
    groups = "".join(_rules_of(number) for number in range(RULE_SLOS))
    (folder / "rules.yml").write_text(f"groups:\n{groups}", "utf-8")
    config = folder / "prometheus.yml"
    config.write_text(f"rule_files: [{folder / 'rules.yml'}]\n" + config.read_text("utf-8"), "utf-8")
    idle = cpu_of(pid)
    time.sleep(10)
    idle = (cpu_of(pid) - idle) / 10
    requests.post(f"{url}/-/reload", timeout=60).raise_for_status()
    deadline = time.monotonic() + 300
    while _evaluated(url) < 3 * RULE_SLOS:
        if time.monotonic() > deadline:
            raise RuntimeError("the rules are not evaluated")
        time.sleep(1)
    started, before = time.monotonic(), cpu_of(pid)
    time.sleep(2 * RULE_INTERVAL)
    length = time.monotonic() - started
    return (cpu_of(pid) - before - idle * length) / RULE_SLOS / (length / RULE_INTERVAL)


def _evaluated(url: str) -> int:
    groups = requests.get(f"{url}/api/v1/rules", timeout=60).json()["data"]["groups"]
    return sum(not group["lastEvaluation"].startswith("0001") for group in groups)


def _rules_of(number: int) -> str:
    """Rules as a generator writes them: ratios over seven windows, the period's mean, facts, two alerts."""
    which = f'slo="{number}"'
    named = f"{{slo: '{number}', window: '%s'}}"
    lines = [f"- name: sli-{number}", f"  interval: {RULE_INTERVAL}s", "  rules:"]
    for window in WINDOWS:
        bad, total = f'requests_total{{{which},code="500"}}', f"requests_total{{{which}}}"
        ratio = f"sum(rate({bad}[{window}])) / sum(rate({total}[{window}]))"
        lines += [
            f"  - record: slo:sli_error:ratio_rate{window}",
            f"    expr: {ratio}",
            f"    labels: {named % window}",
        ]
    mean = (
        f"sum_over_time(slo:sli_error:ratio_rate5m{{{which}}}[30d]) / ignoring(window) "
        f"count_over_time(slo:sli_error:ratio_rate5m{{{which}}}[30d])"
    )
    lines += ["  - record: slo:sli_error:ratio_rate30d", f"    expr: {mean}", f"    labels: {named % '30d'}"]
    lines += [f"- name: meta-{number}", f"  interval: {RULE_INTERVAL}s", "  rules:"]
    budget = f"/ on(slo) group_left slo:error_budget:ratio{{{which}}}"
    facts = {
        "objective:ratio": "vector(0.999)",
        "error_budget:ratio": "vector(1-0.999)",
        "time_period:days": "vector(30)",
        "current_burn_rate:ratio": f"slo:sli_error:ratio_rate5m{{{which}}} {budget}",
        "period_burn_rate:ratio": f"slo:sli_error:ratio_rate30d{{{which}}} {budget}",
        "period_error_budget_remaining:ratio": f"1 - slo:period_burn_rate:ratio{{{which}}}",
    }
    for name, expression in facts.items():
        lines += [f"  - record: slo:{name}", f"    expr: {expression}", f"    labels: {{slo: '{number}'}}"]
    lines += [f"- name: alerts-{number}", f"  interval: {RULE_INTERVAL}s", "  rules:"]
    for name, pairs in (
        ("Page", (("1h", "5m", 14.4), ("6h", "30m", 6))),
        ("Ticket", (("1d", "2h", 3), ("3d", "6h", 1))),
    ):
        both = " or ".join(
            f"(max(slo:sli_error:ratio_rate{short}{{{which}}} > ({rate} * 0.001)) without (window) and "
            f"max(slo:sli_error:ratio_rate{long}{{{which}}} > ({rate} * 0.001)) without (window))"
            for long, short, rate in pairs
        )
        lines += [f"  - alert: Slo{name}{number}", f"    expr: {both}"]
    return "\n".join(lines) + "\n"


def bench_backfill(say: Say, slos: int = 100, days: int = 30) -> None:
    """Count a month of history of a hundred SLOs."""
    from reliability.models import Backfill, SLOVersion
    from reliability.services import run_backfills

    with filled(slos=slos, seconds=days * 86_400, step=60) as (url, pid, end, _):
        watermark = datetime.fromtimestamp(end, UTC)
        declare(url, slos=slos, watermark=watermark, since=watermark - timedelta(days=days))
        rows = list(Backfill.objects.all())
        started, own, theirs = time.monotonic(), own_cpu(), cpu_of(pid)
        if problems := run_backfills(rows, say=lambda _: None, sleep=time.sleep):
            raise RuntimeError(problems[0])
        more: dict[str, Any] = {
            "cpu": round(own_cpu() - own, 1),
            "prometheus_cpu": round(cpu_of(pid) - theirs, 1),
            "versions": SLOVersion.objects.filter(backfilled_from__isnull=False).count(),
        }
        say("backfill", time.monotonic() - started, "s", slos=slos, days=days, **more, at_most=90)


def bench_world(say: Say, seed: int = 1, hours: int = 6) -> None:
    """Count a seeded world of known truth, and ask the same store in the usual ways."""
    from reliability import models
    from reliability.selectors import counts_between
    from reliability.services import run_backfills
    from tests.reliability.worlds import make_world

    models.SLO.objects.all().delete()
    models.DataSource.objects.all().delete()
    with tempfile.TemporaryDirectory(prefix="bench-prometheus-") as name, server("prometheus", Path(name)) as (url, _):
        end = int(time.time()) // 60 * 60 - 180
        rows, truth = make_world(seed=seed, begin=end - hours * 3600, end=end)
        for begin in range(0, len(rows), 4000):
            remote_write(url, rows[begin : begin + 4000])
        selectors = {'requests_total{slo="0",code="500"}': BAD, 'requests_total{slo="0"}': TOTAL}
        text = SLO.replace("NUMBER", "0")
        for ours, theirs in selectors.items():
            text = text.replace(ours, theirs)
        _declare_texts(url, [text], watermark=datetime.fromtimestamp(end, UTC), since=end - hours * 3600 - 600)
        if problems := run_backfills(list(models.Backfill.objects.all()), say=lambda _: None, sleep=time.sleep):
            raise RuntimeError(problems[0])
        version = models.SLOVersion.objects.get(data_source__isnull=False)
        counts = counts_between(version=version, start_minute=end // 60 - hours * 60 - 1, end_minute=end // 60 + 1)

        def ask(query: str) -> float:
            params = {"query": query, "time": str(end)}
            answer = requests.get(f"{url}/api/v1/query", params=params, timeout=30).json()
            return float(answer["data"]["result"][0]["value"][1])

        increased = ask(f"sum(increase({BAD}[{hours}h]))"), ask(f"sum(increase({TOTAL}[{hours}h]))")
        mean = ask(f"avg_over_time((sum(rate({BAD}[5m])) / sum(rate({TOTAL}[5m])))[{hours}h:5m])")
        proven = sum(truth.bad.values()), sum(truth.good.values()) + sum(truth.bad.values())
        say("world_happened", truth.happened_bad, "bad events", of=truth.happened, lost=truth.lost, seed=seed)
        say("world_proven", proven[0], "bad events", of=proven[1], unknown=sum(truth.unknown.values()))
        say("world_tally", counts.bad, "bad events", of=counts.good + counts.bad, unknown=counts.unknown)
        say("world_increase", increased[0], "bad events", of=round(increased[1], 3))
        ratio = proven[0] / proven[1]
        off = {"tally": counts.bad / (counts.good + counts.bad), "increase": increased[0] / increased[1], "mean": mean}
        for way, found in off.items():
            say(f"world_error_ratio_{way}", found * 100, "%", off_by=f"{(found / ratio - 1) * 100:+.1f} %")
