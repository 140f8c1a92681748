"""How soon a worker hears of a committed row through the embedded broker, and what it costs to listen.

    .venv/bin/python bench/wakeup.py

Prints one JSON object per figure and line. A real Celery worker on a state folder of its own; no scheduler runs, so
nothing but the wake-up can bring a row to the worker. The time is from the commit to the row being
finished: a mail that has been written to a file.
"""

# ruff: noqa: PLC0415 Django is imported only once the environment that its settings read is set

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import django  # noqa: E402

from bench._site import percentile, say, until  # noqa: E402

ROWS = 120
IDLE_SECONDS = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as state:
        os.environ.update(
            ASSAY_STATE_DIR=state, DATABASE_URL="", BROKER_URL="", DJANGO_SETTINGS_MODULE="config.settings"
        )
        django.setup()
        from django.core.management import call_command
        from django.utils import timezone

        from core.serving import site_processes
        from delivery.data import Channel
        from delivery.models import Delivery
        from delivery.services import send

        call_command("migrate", verbosity=0)
        spec = next(spec for spec in site_processes(port=1) if spec.name == "worker")
        with (Path(state) / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                spec.command, cwd=ROOT, env={**os.environ, **spec.environment}, stdout=log, stderr=log
            )
        try:

            def send_one(number: int) -> None:
                send(
                    channel=Channel.EMAIL,
                    address="reader@example.org",
                    idempotency_key=f"bench:{number}",
                    subject="Wake up",
                    text="A row to be found.",
                )

            send_one(0)
            until(lambda: Delivery.objects.filter(finished_at__isnull=False).exists(), seconds=60, what="the worker")
            chance, committed = random.Random(1), {}
            for number in range(1, ROWS + 1):
                time.sleep(chance.uniform(0.05, 0.25))
                send_one(number)
                committed[f"bench:{number}"] = timezone.now()
            until(lambda: not Delivery.objects.filter(finished_at__isnull=True).exists(), seconds=60, what="every row")
            waits = [
                (row.finished_at - committed[row.idempotency_key]).total_seconds() * 1000
                for row in Delivery.objects.filter(idempotency_key__in=committed)
                if row.finished_at
            ]
            say("wakeup", "commit_to_finished_p50", percentile(waits, 0.5), "ms", rows=len(waits))
            say("wakeup", "commit_to_finished_p95", percentile(waits, 0.95), "ms", rows=len(waits), limit=100)
            process = psutil.Process(worker.pid)
            time.sleep(2)
            before = process.cpu_times()
            time.sleep(IDLE_SECONDS)
            after = process.cpu_times()
            spent = after.user + after.system - before.user - before.system
            say("wakeup", "idle_worker_cpu", spent / IDLE_SECONDS * 100, "% of a core", limit=1)
        finally:
            worker.terminate()
            worker.wait(30)


if __name__ == "__main__":
    main()
