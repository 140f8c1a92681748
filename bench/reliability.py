"""What counting and judging cost. Prints one JSON object per figure and line.

    .venv/bin/python bench/reliability.py [otlp] [tally] [bytes] [evaluate] [world] [refresh] [backfill]

SQLite in a temporary folder, or the empty scratch database that DATABASE_URL names. Each figure is the best of three.
"""

# ruff: noqa: PLC0415 Django is imported only once the environment that its settings read is set

import io
import json
import os
import random
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

from bench import reliability_sources  # noqa: E402

ROUNDS = 3
SLOS = 10_000
START = time.time_ns() - 60 * 10**9


def say(metric: str, value: float, unit: str, **more: Any) -> None:
    print(
        json.dumps({"bench": "reliability", "metric": metric, "value": round(value, 3), "unit": unit, **more}),
        flush=True,
    )


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
    from reliability.services.otlp_rules import rules_changed

    environment = Environment.objects.create(slug="bench", name="Bench")
    service = Service.objects.create(slug="bench", name="Bench", environment=environment)
    slos = SLO.objects.bulk_create(
        [SLO(slug=f"slo-{number}", name=f"SLO {number}", service=service) for number in range(count)], batch_size=500
    )
    versions = []
    tiers = [
        {"name": name, "severity": "critical", "long_minutes": long, "short_minutes": long // 12, "threshold": rate}
        for name, long, rate in (("fast", 60, 13.44), ("slow", 360, 5.6), ("ticket", 4320, 1.0))
    ]
    for number in range(count):
        query: dict[str, Any] = {"metric": f"metric.{number}", "span": "", "resource": {}, "where": {}, "le": None}
        versions.append(
            SLOVersion(
                slo=slos[number],
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
    made = SLOVersion.objects.bulk_create(versions, batch_size=500)
    rules_changed()
    return made


def body_of(points: int, round_number: int) -> bytes:
    """A request with cumulative histogram points of one metric, each of a stream of its own."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

    now = START + round_number * 10**9
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    metric = resource.scope_metrics.add().metrics.add(name="metric.0", unit="s")
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for number in range(points):
        point = metric.histogram.data_points.add(
            start_time_unix_nano=START,
            time_unix_nano=now,
            explicit_bounds=[0.1, 0.5, 1.0, 2.0],
            bucket_counts=[round_number, round_number, 2, 3, 1],
            count=2 * round_number + 6,
        )
        point.attributes.add(key="route").value.string_value = f"/route/{number}"
    return request.SerializeToString()


def bench_ingest() -> None:
    """Count requests of cumulative histogram points: by the receiver alone, and as the site answers them."""
    from reliability.services import WireRequest, decode, receive_metrics

    def receive(body: bytes) -> None:
        request = WireRequest()
        decode(body, encoding="", content_type="application/x-protobuf", request=request)
        if receive_metrics(request).rejected:
            raise RuntimeError("points were refused")

    rounds = iter(range(1, 1000))
    for way, send in (("otlp_points", receive), ("otlp_points_answered", sender())):
        for points, at_least in ((100, 25_000), (1000, 150_000)):
            wall, cpu = [], []
            for _ in range(12):
                body = body_of(points, next(rounds))
                started, used = time.perf_counter(), time.process_time()
                send(body)
                wall.append(time.perf_counter() - started)
                cpu.append(time.process_time() - used)
            # A core's share is what counts where others use the machine too; `wall` is what was seen.
            say(
                f"{way}_{points}_a_request",
                points / min(cpu),
                "points/s of a core",
                wall=round(points / min(wall)),
                committed=True,
                at_least=at_least,
            )


def sender() -> Callable[[bytes], None]:
    """Return what sends a body with a token to the site's WSGI application, all but the socket."""
    from accounts.data import Capability, Role, system_principal
    from accounts.services import create_api_token, create_user, grant_role
    from config.wsgi import application

    me = system_principal("bench")
    user = create_user(principal=me, username="collector", password=None)
    grant_role(principal=me, user=user, role=Role.RESPONDER)
    _, secret = create_api_token(principal=me, owner=user, name="otlp", scopes=[Capability.TELEMETRY_INGEST])

    def send(body: bytes) -> None:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/v1/metrics",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": "application/x-protobuf",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "127.0.0.1",
            "HTTP_AUTHORIZATION": f"Bearer {secret}",
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
        }
        answers: list[str] = []
        said = b"".join(application(environ, lambda status, *_: answers.append(status)))
        if answers != ["200 OK"] or said:
            raise RuntimeError(f"the site answered {answers} {said!r}")

    return send


def bench_tallies(versions: list[Any]) -> None:
    """Write minutes for all SLOs, then read eight windows of each."""
    from django.db import transaction
    from django.utils import timezone

    from reliability.domain.budgets import Counts
    from reliability.selectors import minute_of, window_sums
    from reliability.services.tallying import add_to_tallies

    chance = random.Random(7)
    now = minute_of(timezone.now())
    ids = [version.tally_id for version in versions]
    lengths = (5, 30, 60, 360, 1440, 4320, 7 * 1440, 28 * 1440)

    def write(minute: int) -> None:
        counts = {(tally, minute): Counts(good=chance.randrange(500, 5000), bad=chance.randrange(3)) for tally in ids}
        started = time.perf_counter()
        with transaction.atomic():
            add_to_tallies(counts)
        spent.append(time.perf_counter() - started)

    spent: list[float] = []
    for length in lengths:
        write(now - length - 1)
        write(now - length)
    spent.clear()
    for ago in range(ROUNDS):
        write(now - 3 + ago)
    say("tally_write_a_minute", min(spent) * 1000, "ms", slos=len(ids), at_most=100)

    def status() -> None:
        windows = [(now - length, now) for length in lengths]
        sums = window_sums(ids, windows)
        for window in windows:
            good, bad, unknown = sums.good(window), sums.bad(window), sums.unknown(window)
            left = [
                (1 - (b + u) / (g + b + u) / 0.001, 1 - b / (g + b + u) / 0.001) if g + b + u else None
                for g, b, u in zip(good, bad, unknown, strict=True)
            ]
            if len(left) != len(ids):
                raise RuntimeError("a tally is missing")

    say("tally_status", best(status) * 1000, "ms", slos=len(ids), windows=len(lengths), at_most=100)


def bench_bytes(versions: list[Any]) -> None:
    """Write two days of minutes for two shelves and look at what the tables take."""
    from django.db import connection, transaction

    from reliability.domain.budgets import Counts
    from reliability.models import TallyBlock, TallyDay, TallyPack, TallyShelf
    from reliability.selectors.shelves import slots_of
    from reliability.services.packing import pack_days
    from reliability.services.tallying import add_to_tallies

    for model in (TallyBlock, TallyDay, TallyPack, TallyShelf):
        model.objects.all().delete()
    slots = slots_of([version.tally_id for version in versions])
    by_shelf: dict[int, list[int]] = {}
    for tally, slot in slots.items():
        by_shelf.setdefault(slot // 100, []).append(tally)
    tallies = [one for shelf in by_shelf.values() if len(shelf) == 100 for one in shelf][:200]
    chance = random.Random(8)
    days = 2
    for minute in range(20_000 * 1440, (20_000 + days) * 1440):
        counts = {
            (tally, minute): Counts(
                good=int(chance.lognormvariate(6.5, 0.3)), bad=0 if chance.random() < 0.7 else chance.randrange(1, 20)
            )
            for tally in tallies
        }
        with transaction.atomic():
            add_to_tallies(counts)
    pack_days(before_day=30_000)
    slo_minutes = len(tallies) * days * 1440
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for table in ("reliability_tallyminute", "reliability_tallypack"):
                cursor.execute(f"VACUUM FULL {table}")
            names = [model._meta.db_table for model in (TallyBlock, TallyDay, TallyPack, TallyShelf)]  # noqa: SLF001
            # A table that has parts is nothing itself.
            cursor.execute(
                "SELECT sum(pg_total_relation_size(name::regclass) + coalesce((SELECT sum(pg_total_relation_size("
                "relid)) FROM pg_partition_tree(name::regclass)), 0)) FROM unnest(%s) AS name",
                [names],
            )
            size = int(cursor.fetchone()[0])
    else:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'reliability\\_tally%' ESCAPE '\\'")
            size = int(cursor.fetchone()[0])
    blocks = sum(len(body) for body in TallyBlock.objects.values_list("body", flat=True)) / slo_minutes
    packs = sum(len(body) for body in TallyPack.objects.values_list("body", flat=True)) / slo_minutes
    say(
        "tally_bytes",
        size / slo_minutes,
        "bytes/SLO-minute",
        blocks=round(blocks, 2),
        packs=round(packs, 2),
        at_most=12,
    )


def bench_evaluate(versions: list[Any]) -> None:
    from reliability.models import SLO
    from reliability.selectors import budget_statuses
    from reliability.services import evaluate

    evaluate()
    say("evaluate", best(evaluate) / len(versions) * 1000, "ms/SLO", slos=len(versions), tiers=3)
    slos = list(SLO.objects.select_related("service"))
    say("status_with_objects", best(lambda: budget_statuses(slos)) / len(slos) * 1000, "ms/SLO", slos=len(slos))


def main() -> None:
    parts = set(sys.argv[1:]) or {"otlp", "tally", "bytes", "evaluate", "world", "refresh", "backfill"}
    with tempfile.TemporaryDirectory(prefix="bench-reliability-") as folder:
        os.environ["ASSAY_STATE_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
        django.setup()
        calibrate()
        versions = make_slos(SLOS)
        if "otlp" in parts:
            bench_ingest()
        if "tally" in parts:
            bench_tallies(versions)
        if "evaluate" in parts:
            bench_evaluate(versions[:200])
        if "bytes" in parts:
            bench_bytes(versions[:400])
        if "world" in parts:
            reliability_sources.bench_world(say)
        if "refresh" in parts:
            reliability_sources.bench_refresh(say)
        if "backfill" in parts:
            reliability_sources.bench_backfill(say)
        calibrate()


if __name__ == "__main__":
    main()
