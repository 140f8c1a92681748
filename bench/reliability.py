"""What counting and judging cost. Prints one JSON object per figure and line.

    .venv/bin/python bench/reliability.py

SQLite in a temporary folder, or the empty scratch database that DATABASE_URL names. Each figure is the best of three.
"""

# ruff: noqa: PLC0415 Django is imported only once the environment that its settings read is set

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

# This folder would hide the room `reliability` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import django  # noqa: E402

ROUNDS = 3
SLOS = 200
MINUTES = 240


def say(metric: str, value: float, unit: str, **more: Any) -> None:
    print(json.dumps({"bench": "reliability", "metric": metric, "value": round(value, 3), "unit": unit, **more}))


def best(run: Callable[[], Any]) -> float:
    """Return the shortest time of a few, in seconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def calibrate() -> None:
    """A fixed loop: the machine's speed moves, so figures mean little without it."""
    say("calibration_loop", best(lambda: sum(number & 7 for number in range(1_000_000))) * 1000, "ms")


def make_slos(count: int) -> list[Any]:
    """Create a service and SLOs that count one metric each."""
    from django.utils import timezone

    from catalog.models import Environment, Service
    from reliability.models import SLO, SLOVersion

    environment = Environment.objects.create(slug="bench", name="Bench")
    service = Service.objects.create(slug="bench", name="Bench", environment=environment)
    versions = []
    tiers = [
        {"name": name, "severity": "critical", "long_minutes": long, "short_minutes": long // 12, "threshold": rate}
        for name, long, rate in (("fast", 60, 13.44), ("slow", 360, 5.6), ("ticket", 4320, 1.0))
    ]
    for number in range(count):
        query: dict[str, Any] = {"metric": f"metric.{number}", "span": "", "resource": {}, "where": {}, "le": None}
        versions.append(
            SLOVersion.objects.create(
                slo=SLO.objects.create(slug=f"slo-{number}", name=f"SLO {number}", service=service),
                number=1,
                definition={},
                definition_sha256=str(number),
                indicator={"good": {**query, "le": 1.0}, "total": query},
                source_type="otlp",
                target="0.999",
                window_days=28,
                tiers=tiers,
                effective_from=timezone.now() - timedelta(days=28),
            )
        )
    return versions


def body_of(points: int, round_number: int) -> bytes:
    """A request with cumulative histogram points of one metric, each of a stream of its own."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

    now = time.time_ns()
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    metric = resource.scope_metrics.add().metrics.add(name="metric.0", unit="s")
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for number in range(points):
        point = metric.histogram.data_points.add(
            start_time_unix_nano=now - 10**11,
            time_unix_nano=now,
            explicit_bounds=[0.1, 0.5, 1.0, 2.0],
            bucket_counts=[round_number, 1, 2, 3, 1],
            count=round_number + 7,
        )
        point.attributes.add(key="route").value.string_value = f"/route/{number}"
    return request.SerializeToString()


def bench_ingest() -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    from reliability.services import decode, receive_metrics

    rounds = iter(range(1, 1000))
    for points in (100, 1000):
        spent: list[float] = []
        for _ in range(ROUNDS + 1):
            body = body_of(points, next(rounds))
            started = time.perf_counter()
            request = ExportMetricsServiceRequest()
            decode(body, encoding="", content_type="application/x-protobuf", request=request)
            receive_metrics(request)
            spent.append(time.perf_counter() - started)
        say(f"otlp_points_{points}_a_request", points / min(spent), "points/s", committed=True)


def bench_evaluate(versions: list[Any]) -> None:
    from django.utils import timezone

    from reliability.domain.budgets import Counts
    from reliability.models import SLO
    from reliability.selectors import budget_statuses, minute_of
    from reliability.services import evaluate
    from reliability.services.tallying import add_to_tallies

    end = minute_of(timezone.now())
    for version in versions:
        add_to_tallies({(version.pk, end - ago): Counts(good=1000, bad=1) for ago in range(1, MINUTES)})
    minute = iter(range(end, end + 100))

    def write() -> None:
        now = next(minute)
        add_to_tallies({(version.pk, now): Counts(good=1000, bad=1) for version in versions})

    say("tally_write_a_minute", best(write) / len(versions) * 1000, "ms/SLO", slos=len(versions))
    evaluate()
    say("evaluate", best(evaluate) / len(versions) * 1000, "ms/SLO", slos=len(versions), tiers=3)
    slos = list(SLO.objects.select_related("service"))
    say("status", best(lambda: budget_statuses(slos)) / len(slos) * 1000, "ms/SLO", slos=len(slos))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-reliability-") as folder:
        os.environ["ASSAY_STATE_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
        django.setup()
        calibrate()
        versions = make_slos(SLOS)
        bench_ingest()
        bench_evaluate(versions)


if __name__ == "__main__":
    main()
