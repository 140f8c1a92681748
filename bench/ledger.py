"""How fast the ledger records, verifies and proves. Prints one JSON object per figure and line.

    .venv/bin/python bench/ledger.py [record] [verify] [prove]
    tools/with-servers .venv/bin/python bench/ledger.py        on PostgreSQL too

Each figure is the best of three rounds. SQLite runs in a temporary folder; PostgreSQL in a scratch database of the
server that DATABASE_URL names, and is left out where it names none.
"""

# ruff: noqa: PLC0415 Django is imported only once `scratch` has set the environment that its settings read

import argparse
import json
import multiprocessing
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# This folder would hide the room `ledger` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import django  # noqa: E402
import psycopg  # noqa: E402

WRITERS = 8
ROUNDS = 3
BENCHES = ("record", "verify", "prove")


def say(metric: str, value: float, unit: str, **more: Any) -> None:
    figure = {"bench": "ledger", "metric": metric, "value": round(value, 3), "unit": unit, **more}
    print(json.dumps(figure), flush=True)


def calibrate() -> None:
    """A fixed loop: the machine's speed moves, so figures mean little without it."""
    started = time.perf_counter()
    total = 0
    for number in range(3_000_000):
        total += number & 7
    say("calibration_loop", (time.perf_counter() - started) * 1000, "ms")


@contextmanager
def scratch(engine: str, server: str) -> Iterator[str]:
    """Make an empty, migrated database of the site, and set the environment to it."""
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
        os.environ["ASSAY_STATE_DIR"] = folder
        name = f"bench_{secrets.token_hex(6)}"
        base = urlsplit(server)
        url = f"sqlite:///{folder}/site.sqlite3" if engine == "sqlite" else base._replace(path=f"/{name}").geturl()
        admin = base._replace(path="/postgres").geturl()
        if engine == "postgresql":
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
        os.environ["DATABASE_URL"] = url
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
        try:
            yield url
        finally:
            if engine == "postgresql":
                with psycopg.connect(admin, autocommit=True) as connection:
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def write(ready: Any, go: Any, seconds: float, answers: Any) -> None:
    """Record as fast as possible, each entry in a transaction of its own; answer with the latencies."""
    django.setup()
    from django.db import connection, transaction

    from ledger.data.access import AuditedAction
    from ledger.services import record

    payload = AuditedAction(action="bench.done", target="x" * 40, before={"state": "open"}, after={"state": "closed"})
    connection.ensure_connection()
    ready.release()
    go.wait()
    latencies = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        with transaction.atomic():
            record(payload, actor="user:1", subject="bench:1")
        latencies.append(time.perf_counter() - started)
    answers.put(latencies)


def seal(stop: Any, answers: Any) -> None:
    """Seal every second, as the site does."""
    django.setup()
    from ledger.services import seal_pending

    sealed = 0
    while not stop.wait(1):
        sealed += seal_pending()
    answers.put(sealed)


def bench_record(engine: str, seconds: float) -> None:
    context = multiprocessing.get_context("spawn")
    best: tuple[float, float, float, int] = (0, 0, 0, 0)
    for _ in range(ROUNDS):
        ready, go, stop = context.Semaphore(0), context.Event(), context.Event()
        answers, sealed = context.Queue(), context.Queue()
        sealer = context.Process(target=seal, args=(stop, sealed))
        writers = [context.Process(target=write, args=(ready, go, seconds, answers)) for _ in range(WRITERS)]
        for process in (sealer, *writers):
            process.start()
        for _writer in writers:
            ready.acquire()
        go.set()
        latencies = sorted(latency for _writer in writers for latency in answers.get())
        stop.set()
        in_time = sealed.get()
        for process in (sealer, *writers):
            process.join()
        rate = len(latencies) / seconds
        p99 = latencies[int(len(latencies) * 0.99)]
        best = max(best, (rate, p99, latencies[-1], in_time))
    say(f"record_{engine}", best[0], "records/s", writers=WRITERS, sealed_meanwhile=best[3])
    say(f"record_{engine}_p99", best[1] * 1000, "ms")
    say(f"record_{engine}_max", best[2] * 1000, "ms")


def fill(engine: str, count: int) -> None:
    """Put sealed entries into the log, as quickly as the tables take them."""
    import hashlib

    from django.utils import timezone

    from ledger.models import EntryContent, LedgerEntry, PendingEntry
    from ledger.services import make_checkpoint, seal_pending

    body = (
        b'{"action":"bench.done","after":{"state":"closed"},"before":{"state":"open"},"target":"xxxxxxxxxxxxxxxxxxxx"}'
    )
    now = timezone.now()
    for start in range(1, count + 1, 5_000):
        keys = range(start, min(start + 5_000, count + 1))
        nonces = [key.to_bytes(32, "big") for key in keys]
        LedgerEntry.objects.bulk_create(
            [
                LedgerEntry(
                    pk=key,
                    entry_type="audit.action",
                    version=1,
                    evidence_type="AUD",
                    actor="user:1",
                    subject=f"bench:{key}",
                    recorded_at=now,
                    occurred_at=now,
                    payload_sha256=hashlib.sha256(nonce + body).hexdigest(),
                )
                for key, nonce in zip(keys, nonces, strict=True)
            ]
        )
        EntryContent.objects.bulk_create(
            [EntryContent(entry_id=key, nonce=nonce, body=body) for key, nonce in zip(keys, nonces, strict=True)]
        )
        PendingEntry.objects.bulk_create([PendingEntry(entry_id=key) for key in keys])
    started = time.perf_counter()
    seal_pending()
    say(f"seal_{engine}", count / (time.perf_counter() - started), "entries/s")
    make_checkpoint()


def bench_verify(engine: str, count: int) -> None:
    """Time whole runs of the verification, the start of its processes included."""
    from ledger.services import verify_log

    for processes in (1, 2):
        best = 0.0
        for _ in range(ROUNDS):
            started = time.perf_counter()
            found = verify_log(processes=processes)
            taken = time.perf_counter() - started
            if not found.holds or found.entries != count:
                sys.exit(f"the bench's own log does not hold: {found}")
            best = max(best, count / taken)
        say(f"verify_{engine}_{processes}_processes", best, "entries/s", entries=count)


def bench_prove(engine: str, count: int) -> None:
    import random

    from ledger.services import prove_inclusion

    best = (1e9, 0.0)
    for _ in range(ROUNDS):
        taken = []
        for _number in range(2_000):
            seq = random.randrange(count)
            started = time.perf_counter()
            prove_inclusion(seq, size=count)
            taken.append(time.perf_counter() - started)
        taken.sort()
        best = min(best, (taken[int(len(taken) * 0.99)], taken[len(taken) // 2]))
    say(f"prove_{engine}_p99", best[0] * 1000, "ms", entries=count)
    say(f"prove_{engine}_p50", best[1] * 1000, "ms", entries=count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", help=" ".join(BENCHES))
    parser.add_argument("--seconds", type=float, default=5, help="of each round of writing")
    parser.add_argument("--verified", type=int, default=200_000, help="entries to verify")
    parser.add_argument("--proved", type=int, default=1_000_000, help="entries of the log to prove from")
    parser.add_argument("--server", default=os.environ.get("DATABASE_URL", ""))
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    benches = given.benches or list(BENCHES)
    if given.engine is None:
        engines = ["sqlite", *(["postgresql"] if given.server.startswith("postgres") else [])]
        calibrate()
        # Each in a process of its own: Django reads its settings once.
        for name in benches:
            for engine in engines:
                command = [sys.executable, __file__, name, "--engine", engine, "--server", given.server]
                sizes = ["--seconds", given.seconds, "--verified", given.verified, "--proved", given.proved]
                subprocess.run([*command, *map(str, sizes)], check=True)
        calibrate()
        return
    with scratch(given.engine, given.server):
        if benches == ["record"]:
            bench_record(given.engine, given.seconds)
            return
        django.setup()
        count = given.verified if benches == ["verify"] else given.proved
        fill(given.engine, count)
        {"verify": bench_verify, "prove": bench_prove}[benches[0]](given.engine, count)


if __name__ == "__main__":
    main()
