"""How many alerts the site accepts and carries through, how soon the first page leaves, and what the lists cost.

    .venv/bin/python bench/incidents.py [accept] [page] [lists]

Prints one JSON object per figure and line. A site of real processes (web, worker, scheduler) on a state folder of its
own, SQLite; or on the empty scratch database that DATABASE_URL names (PostgreSQL).
"""

# ruff: noqa: PLC0415 Django is imported only once the environment that its settings read is set

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# This folder would hide the room `incidents` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import django  # noqa: E402
import psutil  # noqa: E402

from bench._site import calibrate, free_port, percentile, say, until  # noqa: E402

BENCH = "incidents"
CONNECTIONS = 32
PARTS = ("web", "worker", "scheduler")
SECONDS = 10.0
PAGED_PER_SECOND = 200
DOCUMENTS = """
apiVersion: assay/v1
kind: Route
metadata: {name: all}
spec: {position: 1, match: ['severity="page"'], severity: sev2, escalation_policy: first, quiet_period: null}
---
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: first}
spec: {steps: [{user: person-0, wait: 1h}]}
---
apiVersion: assay/v1
kind: Integration
metadata: {name: storm}
spec: {type: alertmanager}
"""


def alert_body(number: int, service: str) -> bytes:
    """A webhook of Alertmanager with one alert that nobody has seen before."""
    labels = {"alertname": f"Bench{number}", "service": service, "severity": "page", "instance": f"host-{number}"}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"Something is slow on host-{number}"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.org/graph",
        "fingerprint": f"{number:016x}",
    }
    return json.dumps(
        {
            "version": "4",
            "groupKey": f"{{}}:{{alertname={number}}}",
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "assay",
            "groupLabels": {"alertname": f"Bench{number}"},
            "commonLabels": labels,
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example.org",
            "alerts": [alert],
        }
    ).encode()


class Served:
    """A site of real processes; `parts` names those to start."""

    def __init__(self, parts: Sequence[str]) -> None:
        from core.serving import site_processes

        self.port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        state = Path(os.environ["ASSAY_STATE_DIR"])
        for spec in site_processes(port=self.port):
            if spec.name not in parts:
                continue
            with (state / f"{spec.name}.log").open("wb") as log:
                environment = {**os.environ, **spec.environment}
                self._processes[spec.name] = subprocess.Popen(
                    spec.command, cwd=ROOT, env=environment, stdout=log, stderr=log
                )
        if "web" in parts:
            until(self._answers, seconds=60, what="the web server")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def cpu_seconds(self, *names: str) -> float:
        """Return the processor time that the processes (of these names) and their children have used."""
        total = 0.0
        for name, process in self._processes.items():
            if names and name not in names:
                continue
            known = psutil.Process(process.pid)
            for one in (known, *known.children(recursive=True)):
                spent = one.cpu_times()
                total += spent.user + spent.system
        return total

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pour(port: int, path: str, bodies: Sequence[bytes], *, connections: int) -> tuple[list[float], int, float]:
    """Send the bodies over so many connections as fast as they are taken; times, refusals, seconds in all."""
    times: list[float] = []
    refused = 0
    lock = threading.Lock()
    shares = [bodies[number::connections] for number in range(connections)]

    def one(share: Sequence[bytes]) -> None:
        nonlocal refused
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        own, bad = [], 0
        for body in share:
            started = time.perf_counter()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            own.append(time.perf_counter() - started)
            bad += answer.status != 202
        connection.close()
        with lock:
            times.extend(own)
            refused += bad

    threads = [threading.Thread(target=one, args=(share,)) for share in shares]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, refused, time.perf_counter() - started


def accept(token: str) -> None:
    """Single-alert POSTs: first the door alone, then with the worker, and how many are carried through a second."""
    from django.db import connection

    from incidents.models import Alert, InboundEvent

    path = f"/inbound/alertmanager/{token}"
    count = int(os.environ.get("BENCH_EVENTS", "6000"))
    site = Served(["web"])
    try:
        pour(site.port, path, [alert_body(n, "svc-0") for n in range(200)], connections=CONNECTIONS)
        before = site.cpu_seconds()
        client = subprocess.run(
            [sys.executable, str(Path(__file__)), "--pour", str(site.port), path, str(count)],
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=300,
        )
        found = json.loads(client.stdout)
        spent = site.cpu_seconds() - before
    finally:
        site.stop()
    database = connection.vendor
    say(BENCH, "accepted", found["count"] / found["seconds"], "1/s", database=database, connections=CONNECTIONS)
    say(BENCH, "web_server_cpu", spent / found["count"] * 1000, "ms/event", load=round(os.getloadavg()[0], 1))
    say(BENCH, "acknowledged_p99", found["p99"] * 1000, "ms", database=database, refused=found["refused"])
    stored = InboundEvent.objects.count()
    say(BENCH, "stored", stored, "events", answered=found["count"] + 200)
    waiting = InboundEvent.objects.filter(finished_at=None).count()
    worker = Served(["worker", "scheduler"])
    try:
        from core.work import wake

        until(Alert.objects.exists, seconds=60, what="the worker")
        wake("incidents.inbound")
        before, started, used = Alert.objects.count(), time.perf_counter(), worker.cpu_seconds()
        seconds = min(SECONDS * 2, 20)
        while time.perf_counter() - started < seconds and Alert.objects.count() < waiting:
            time.sleep(0.5)
        done, spent = Alert.objects.count() - before, time.perf_counter() - started
        used = worker.cpu_seconds() - used
    finally:
        worker.stop()
    say(BENCH, "carried_through", done / spent, "1/s", database=database, of=waiting, alerts=Alert.objects.count())
    if done:
        say(BENCH, "worker_cpu", used / done * 1000, "ms/event", load=round(os.getloadavg()[0], 1))


def page(token: str) -> None:
    """How soon the first page leaves at 200 alerts a second, each of a service of its own in turn."""
    from django.db import connection

    from core.models import PeriodicJob
    from delivery.models import Delivery
    from incidents.models import Alert, Incident

    site = Served(PARTS)
    path = f"/inbound/alertmanager/{token}"
    try:
        pour(site.port, path, [alert_body(5_000_000, "svc-0")], connections=1)
        until(lambda: Alert.objects.filter(title__contains="host-5000000").exists(), seconds=120, what="the worker")
        # A site that was just installed loads its frameworks first.
        until(lambda: not PeriodicJob.objects.filter(last_started_at=None), seconds=300, what="each job's first turn")
        mails_before = Delivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        started_with = {name: site.cpu_seconds(name) for name in PARTS}
        first = Incident.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        started = time.perf_counter()
        total = int(PAGED_PER_SECOND * SECONDS)
        slots: list[list[int]] = [[] for _ in range(8)]
        for number in range(total):
            slots[number % 8].append(number)

        def paced(numbers: Sequence[int]) -> None:
            connection_ = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
            for number in numbers:
                delay = started + number / PAGED_PER_SECOND - time.perf_counter()
                if delay > 0:
                    time.sleep(delay)
                # One in ten opens an incident of its own: a service that has none open.
                service = f"new-{number // 10}" if number % 10 == 0 else "svc-0"
                connection_.request("POST", path, alert_body(6_000_000 + number, service))
                connection_.getresponse().read()
            connection_.close()

        threads = [threading.Thread(target=paced, args=(numbers,)) for numbers in slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A door that answers slowly would let the alerts come slower, and the pages look quicker.
        say(BENCH, "paged_alerts_accepted", total / (time.perf_counter() - started), "1/s", asked=PAGED_PER_SECOND)
        expected = total // 10
        sent = Delivery.objects.filter(channel="email", sent_at__isnull=False, pk__gt=mails_before)
        with contextlib.suppress(RuntimeError):
            # What has not left by then is missing from `pages` below.
            until(lambda: sent.count() >= expected, seconds=SECONDS * 6, what="the pages")
        used = {name: round(site.cpu_seconds(name) - started_with[name], 1) for name in PARTS}
    finally:
        site.stop()
    tell_stages(first, database=connection.vendor, expected=expected, load=round(os.getloadavg()[0], 1), cpu=used)


def tell_stages(first: int, **more: Any) -> None:
    """Print how long the first pages took from the receipt of their alerts, and how far they were at each stage."""
    from delivery.models import DeliveryAttempt
    from incidents.models import Alert, Page

    stages: dict[str, list[float]] = {"taken": [], "paged": [], "tried": [], "left": []}
    alerts = Alert.objects.filter(incident__gt=first, event__isnull=False).order_by("pk")
    received = dict(reversed(alerts.values_list("incident_id", "event__received_at")))
    taken = dict(reversed(alerts.values_list("incident_id", "first_received_at")))
    paged = dict(Page.objects.filter(incident__gt=first).order_by("-pk").values_list("incident_id", "at"))
    mails = DeliveryAttempt.objects.filter(delivery__channel="email", delivery__sent_at__isnull=False)
    tries = mails.order_by("-pk").values_list("delivery__about", "started_at", "delivery__sent_at")
    for about, started_at, sent_at in tries:
        incident = int(about.rpartition("-")[2])
        if incident not in received or sent_at is None:
            continue
        for stage, instant in (
            ("taken", taken[incident]),
            ("paged", paged[incident]),
            ("tried", started_at),
            ("left", sent_at),
        ):
            stages[stage].append((instant - received[incident]).total_seconds())
    for stage, waits in stages.items():
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            if waits:
                say(BENCH, f"first_page_{stage}_{name}", percentile(waits, share), "s", pages=len(waits))
    say(BENCH, "first_page_p99", percentile(stages["left"], 0.99), "s", limit=2, pages=len(stages["left"]), **more)


def lists() -> None:
    """The list of 100,000 incidents and the stream of 1,000,000 alerts, as pages of a signed-in person."""
    from django.db import connection
    from django.test import Client

    from accounts.models import User

    fill(int(os.environ.get("BENCH_INCIDENTS", "100000")), int(os.environ.get("BENCH_ALERTS", "1000000")))
    client = Client()
    client.force_login(User.objects.get(username="person-0"))
    pages = {
        "incident_list": "/incidents/",
        "incident_list_open": "/incidents/?status=triggered",
        "alert_stream": "/alerts/",
        "alert_stream_firing": "/alerts/?status=firing",
        "analytics_90_days": "/incidents/analytics/",
    }
    for name, path in pages.items():
        client.get(path)
        times = []
        for _ in range(20 if "list" in name or "stream" in name else 3):
            started = time.perf_counter()
            answer = client.get(path)
            times.append(time.perf_counter() - started)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} answers {answer.status_code}")
        limit = {} if name.startswith("analytics") else {"limit": 200}
        say(BENCH, f"{name}_p95", percentile(times, 0.95) * 1000, "ms", database=connection.vendor, **limit)


def fill(incidents: int, alerts: int) -> None:
    """Store incidents over two years, a hundred of them open, and alerts, a thousand of them firing.

    One row of each is made as the site makes them; the others are copies of it with times and names of their own.
    """
    from django.db import connection
    from django.utils import timezone

    from catalog.models import Service
    from incidents.models import Alert, Incident, Integration, Route

    now = timezone.now()
    first = Service.objects.order_by("pk").values_list("pk", flat=True)[0]
    times = ("impact_started_at", "detected_at", "triggered_at", "first_notified_at")
    incident = Incident.objects.create(
        title="Customers wait for answer",
        grouping_key="bench",
        route_name="all",
        declared_by="system:bench",
        detected_by="alert:storm",
        **dict.fromkeys(times, now),
    )
    alert = Alert.objects.create(
        integration=Integration.objects.get(slug="storm"),
        fingerprint="bench",
        episode_at=now,
        status="firing",
        title="Bench alert",
        labels={"alertname": "Bench", "service": "svc-0"},
        starts_at=now,
        first_received_at=now,
        last_received_at=now,
        route=Route.objects.get(),
        service_id=first,
        decision="joined INC-1",
    )
    postgres = connection.vendor == "postgresql"

    def ago(number: str, seconds: int, total: int) -> str:
        back = f"(({total} - {number}) * {seconds})"
        if postgres:
            return f"now() - {back} * interval '1 second'"
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || {back} || ' seconds')"

    copies = {
        Incident: (
            incident.pk,
            incidents,
            {
                "grouping_key": "'bench:' || n.i",
                "title": "'Customers wait for answer ' || n.i",
                "severity": "'sev' || (1 + n.i % 4)",
                "status": f"CASE WHEN n.i <= {incidents - 100} THEN 'resolved' ELSE 'triggered' END",
                "resolved_at": f"CASE WHEN n.i <= {incidents - 100} THEN {ago('n.i', 600, incidents + 6)} END",
                "acknowledged_at": ago("n.i", 600, incidents),
                **dict.fromkeys(times, ago("n.i", 600, incidents + 10)),
            },
        ),
        Alert: (
            alert.pk,
            alerts,
            {
                "fingerprint": "'bench-' || n.i",
                "title": "'Bench alert ' || n.i",
                "status": f"CASE WHEN n.i <= {alerts - 1000} THEN 'resolved' ELSE 'firing' END",
                "service_id": f"{first} + n.i % 20",
                **dict.fromkeys(
                    ("episode_at", "starts_at", "first_received_at", "last_received_at"), ago("n.i", 5, alerts)
                ),
            },
        ),
    }
    with connection.cursor() as cursor:
        for model, (key, count, changed) in copies.items():
            columns = [str(f.column) for f in model._meta.concrete_fields if not f.primary_key]  # noqa: SLF001 Django's documented name
            chosen = ", ".join(changed.get(column, f"t.{column}") for column in columns)
            table = model._meta.db_table  # noqa: SLF001
            cursor.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table} t, n WHERE t.id = {key}"
            )
        cursor.execute(
            "INSERT INTO incidents_incident_services (incident_id, service_id) "
            f"SELECT id, {first} + id % 20 FROM incidents_incident WHERE grouping_key LIKE 'bench:%'"
        )
        cursor.execute("ANALYZE")


def organization() -> str:
    """Make people, services, a route, a policy and a sender; return the sender's token."""
    from accounts.data import Role, system_principal
    from accounts.services import create_user, grant_role
    from catalog.models import Environment, Service
    from core.parsing import load_yaml_documents
    from incidents.services import apply_documents

    me = system_principal("bench")
    for number in range(5):
        user = create_user(
            principal=me, username=f"person-{number}", password=None, email=f"person-{number}@example.org"
        )
        grant_role(principal=me, user=user, role=Role.ADMIN)
    environment = Environment.objects.create(slug="bench", name="Bench")
    for number in range(20):
        Service.objects.create(slug=f"svc-{number}", name=f"Service {number}", environment=environment)
    for number in range(int(PAGED_PER_SECOND * SECONDS / 10)):
        Service.objects.create(slug=f"new-{number}", name=f"New {number}", environment=environment)
    applied = apply_documents(principal=me, documents=load_yaml_documents(DOCUMENTS, source="bench.yaml"))
    return applied.new_tokens["storm"].token


def main() -> None:
    if sys.argv[1:2] == ["--pour"]:
        # A process of its own, so that the client's time is not the server's.
        port, path, count = int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
        bodies = [alert_body(1_000_000 + n, f"svc-{n % 20}") for n in range(count)]
        times, refused, seconds = pour(port, path, bodies, connections=CONNECTIONS)
        print(json.dumps({"count": count, "seconds": seconds, "p99": percentile(times, 0.99), "refused": refused}))
        return
    wanted = sys.argv[1:] or ["accept", "page", "lists"]
    with tempfile.TemporaryDirectory() as state:
        os.environ.update(
            ASSAY_STATE_DIR=state,
            DATABASE_URL=os.environ.get("DATABASE_URL", ""),
            BROKER_URL="",
            DJANGO_SETTINGS_MODULE="config.settings",
        )
        django.setup()
        from django.core.management import call_command

        calibrate(BENCH)
        call_command("migrate", verbosity=0)
        token = organization()
        for name in wanted:
            {
                "accept": lambda: accept(token),
                "page": lambda: page(token),
                "lists": lists,
            }[name]()


if __name__ == "__main__":
    main()
