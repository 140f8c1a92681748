"""How fast compliance evaluates, and how fast evidence packs are made and verified. A JSON object per figure and line.

    .venv/bin/python bench/compliance.py [evaluate] [pack] [--entries 1000000] [--packed 100000] [--megabytes 1024]

SQLite in a temporary folder, or with `--postgresql` a scratch database of the server that DATABASE_URL names
(`tools/with-servers`). `evaluate`: twelve months of what a busy organization records, some of it deviating; `first` is
the run that looks at every entry for the first time and keeps what it found, `cold` judges SOC 2 and ISO/IEC 27001 over
twelve months in a process that has asked nothing before, `incremental` looks at a hundred new entries and judges both
again, `heat_map` is what a framework's page asks for. `cpu` is the time of this process alone. `pack`: entries with
proofs, artifacts, peak memory of the process that makes it, and the time that `verify.py` takes.
"""

# ruff: noqa: PLC0415 Django is imported only once the environment that its settings read is set

import argparse
import hashlib
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

# This folder would hide the room `compliance` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import django  # noqa: E402

BENCHES = ("evaluate", "pack")
BATCH = 5_000
ARTIFACT_MEGABYTES = 8


def say(metric: str, value: float, unit: str, **more: Any) -> None:
    print(
        json.dumps({"bench": "compliance", "metric": metric, "value": round(value, 3), "unit": unit, **more}),
        flush=True,
    )


def calibrate() -> None:
    """A fixed loop: the machine's speed moves, so figures mean little without it."""
    started = time.perf_counter()
    total = 0
    for number in range(3_000_000):
        total += number & 7
    say("calibration_loop", (time.perf_counter() - started) * 1000, "ms", load=os.getloadavg()[0])


def payloads() -> list[Any]:
    """Return what a busy organization records, by weight: a hundred entries, some of which deviate."""
    from django.utils import timezone

    from ledger.data.access import AuditedAction
    from ledger.data.alerts import AlertHandled
    from ledger.data.changes import ChangeMerged, DeploymentRecorded
    from ledger.data.incidents import IncidentAcknowledged, IncidentOpened
    from ledger.data.oncall import OnCallCovered
    from ledger.data.slo import SloWindowReported

    now = timezone.now()
    alert = AlertHandled(
        alert="a", fingerprint="f", rule="r", source="s", service="gateway", severity="page", routed_to="inference",
        decision="paged", incident="INC-1", fired_at=now, first_notified_at=now, acknowledged_at=now, resolved_at=now,
    )  # fmt: skip
    change = DeploymentRecorded(
        deployment="d", service="gateway", environment="production", commit="c" * 40, ticket="T-1", author="alice",
        approver="bob", emergency=False, tests_passed=True, result="succeeded", started_at=now, finished_at=now,
    )  # fmt: skip
    merged = ChangeMerged(
        forge="github", repository="acme/gateway", change="1", title="Change", author="alice", approvers=["bob"],
        approved_by_another=True, checks_passed=True, commit="c" * 40, merged_by="bob", merged_at=now, url="https://x",
    )  # fmt: skip
    window = SloWindowReported(
        slo="gateway-availability", service="gateway", definition_version=1, target="0.999", window_start=now,
        window_end=now, good_events=1000, bad_events=1, unknown_events=0, minutes_measured=1440, minutes_in_window=1440,
        error_budget_remaining_ratio="0.5", reason="daily",
    )  # fmt: skip
    covered = OnCallCovered(
        schedule="s", window_start=now, window_end=now, covered_seconds=86_400, window_seconds=86_400, gaps=0
    )
    opened = IncidentOpened(
        incident="INC-1", title="t", severity="sev2", services=["gateway"], detection_source="alert", detected_at=now
    )
    taken = IncidentAcknowledged(incident="INC-1", severity="sev2", acknowledged_at=now, first_notified_at=now)
    late = taken.model_copy(update={"acknowledged_at": now + timedelta(hours=1)})
    other = AuditedAction(action="bench.done", target="x" * 20)
    signed_in = AuditedAction(action="sign_in.succeeded", target="alice")
    return [
        *[other] * 40, *[signed_in] * 15, *[alert] * 20, alert.model_copy(update={"decision": ""}), *[change] * 9,
        change.model_copy(update={"approver": "alice"}), *[merged] * 4, *[window] * 4, *[covered] * 2, opened, taken,
        taken, late,
    ]  # fmt: skip


def fill(count: int, *, start: int = 1, artifacts: list[str] | None = None) -> None:
    """Put entries of the last twelve months into the log, as quickly as the tables take them; unsealed."""
    from django.db import connection
    from django.utils import timezone

    from ledger.domain.canonical import canonical_json
    from ledger.models import EntryContent, LedgerEntry, PendingEntry

    kinds = [(one, canonical_json(one.model_dump(mode="json"))) for one in payloads()]
    now = timezone.now()
    for first in range(start, start + count, BATCH):
        entries, contents = [], []
        for key in range(first, min(first + BATCH, start + count)):
            one, body = kinds[key % len(kinds)]
            at = now - timedelta(seconds=(start + count - key) * 31_000_000 / count)
            nonce = key.to_bytes(32, "big")
            entries.append(
                LedgerEntry(
                    pk=key,
                    entry_type=one.entry_type,
                    version=one.version,
                    evidence_type=one.evidence_type or "",
                    actor="user:1",
                    subject=f"bench:{key}",
                    recorded_at=at,
                    occurred_at=at,
                    payload_sha256=hashlib.sha256(nonce + body).hexdigest(),
                    artifacts=[artifacts[key % len(artifacts)]] if artifacts else [],
                )
            )
            contents.append(EntryContent(entry_id=key, nonce=nonce, body=body))
        LedgerEntry.objects.bulk_create(entries)
        EntryContent.objects.bulk_create(contents)
        PendingEntry.objects.bulk_create([PendingEntry(entry_id=entry.pk) for entry in entries])
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('ledger_ledgerentry_id_seq', (SELECT max(id) FROM ledger_ledgerentry))")


def judge() -> float:
    """Judge both frameworks over twelve months; return the seconds."""
    from django.utils import timezone

    from compliance.data import Window
    from compliance.models import Framework
    from compliance.selectors import requirement_standings

    now = timezone.now()
    started = time.perf_counter()
    for slug in ("soc2", "iso27001"):
        framework = Framework.objects.get(slug=slug)
        requirement_standings(framework, window=Window(now - timedelta(days=365), now), now=now)
    return time.perf_counter() - started


def build(count: int) -> None:
    """Make the log and look at it for the first time."""
    from django.utils import timezone

    from compliance.models import Check
    from compliance.services import load_packaged, run_checks
    from ledger.services import seal_pending

    load_packaged()
    Check.objects.update(started_at=timezone.now() - timedelta(days=366))
    seal_pending()
    fill(count, start=10_000)
    while seal_pending():
        pass
    started, cpu = time.perf_counter(), time.process_time()
    run_checks()
    taken = time.perf_counter() - started
    say("first", taken, "s", entries=count, cpu=round(time.process_time() - cpu, 2))


def evaluate(count: int) -> None:
    """Judge, judge again after a hundred entries, and ask for the heat map."""
    from django.utils import timezone

    from compliance.models import Framework, Occurrence
    from compliance.selectors import months_before, requirement_standings_over
    from compliance.services import run_checks
    from ledger.services import seal_pending

    say("cold", judge(), "s", entries=count, occurrences=Occurrence.objects.count())
    run_checks()
    seal_pending()
    for number in range(3):
        fill(100, start=100_000_000 + number * 10_000)
        seal_pending()
        started, cpu = time.perf_counter(), time.process_time()
        run_checks()
        checked = time.perf_counter() - started
        judged = judge()
        cpu = round(time.process_time() - cpu, 3)
        say("incremental", checked + judged, "s", checks=round(checked, 3), judging=round(judged, 3), cpu=cpu)
    now = timezone.now()
    for slug in ("soc2", "iso27001"):
        framework = Framework.objects.get(slug=slug)
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            requirement_standings_over(framework, windows=months_before(now, count=6), now=now)
            taken.append(time.perf_counter() - started)
        say(f"heat_map_{slug}", min(taken) * 1000, "ms")


def prepare_pack(count: int, megabytes: int) -> None:
    """Make a log with artifacts."""
    from ledger.services import seal_pending, store_artifact

    digests = [
        store_artifact(secrets.token_bytes(ARTIFACT_MEGABYTES * 1024 * 1024), media_type="image/png", name=f"{n}.png")
        for n in range(max(1, megabytes // ARTIFACT_MEGABYTES))
    ]
    fill(count, artifacts=digests)
    while seal_pending():
        pass


def pack(folder: Path, megabytes: int) -> None:
    """Write a pack of everything, and verify it."""
    from accounts.data import system_principal
    from ledger.data.packs import Selection
    from ledger.selectors import log_size
    from ledger.services import write_pack

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, cpu = time.perf_counter(), time.process_time()
    # As the pack of an audit: entries chosen one by one.
    chosen = Selection(seqs=frozenset(range(log_size())))
    made = write_pack(folder / "pack.zip", principal=system_principal("bench"), title="Bench", selection=chosen)
    taken, cpu = time.perf_counter() - started, round(time.process_time() - cpu, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = (folder / "pack.zip").stat().st_size / 1e6
    say("pack", taken, "s", cpu=cpu, entries=made.entries, artifacts=made.artifacts, file_megabytes=round(size))
    say("pack_memory", peak, "MB", started_with=round(before), artifact_megabytes=megabytes)
    verifier = ROOT / "ledger" / "pack" / "verify.py"
    command = [sys.executable, "-I", str(verifier), str(folder / "pack.zip"), "--key", made.key]
    started = time.perf_counter()
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"the bench's own pack does not hold:\n{answer.stdout}{answer.stderr}")
    taken, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = round(used.ru_utime + used.ru_stime, 1)
    say("verify", taken, "s", cpu=cpu, entries=made.entries, memory_megabytes=round(used.ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", help=" ".join(BENCHES))
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries to evaluate")
    parser.add_argument("--packed", type=int, default=100_000, help="entries of the pack")
    parser.add_argument("--megabytes", type=int, default=1024, help="of artifacts in the pack")
    parser.add_argument("--postgresql", action="store_true", help="not SQLite but the server of DATABASE_URL")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        django.setup()
        folder = Path(os.environ["ASSAY_STATE_DIR"])
        {
            "build": lambda: build(given.entries),
            "evaluate": lambda: evaluate(given.entries),
            "prepare": lambda: prepare_pack(given.packed, given.megabytes),
            "pack": lambda: pack(folder, given.megabytes),
        }[given.step]()
        return
    calibrate()
    for name in given.benches or BENCHES:
        with tempfile.TemporaryDirectory(prefix="bench-compliance-") as scratch, database(given, scratch) as address:
            environment = {
                **os.environ,
                "ASSAY_STATE_DIR": scratch,
                "DATABASE_URL": address,
                "ARTIFACT_STORE_URL": f"file://{scratch}/artifacts",
                "DJANGO_SETTINGS_MODULE": "config.settings",
            }
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True, env=environment)
            sizes = ["--entries", given.entries, "--packed", given.packed, "--megabytes", given.megabytes]
            # Each step in a process of its own: what one has cached or grown to does not flatter the next.
            for step in ("build", "evaluate") if name == "evaluate" else ("prepare", "pack"):
                command = [sys.executable, __file__, "--step", step, *map(str, sizes)]
                subprocess.run(command, check=True, env=environment)
    calibrate()


@contextmanager
def database(given: argparse.Namespace, scratch: str) -> Iterator[str]:
    """Yield the address of an empty database, and drop it afterwards."""
    if not given.postgresql:
        yield f"sqlite:///{scratch}/site.sqlite3"
        return
    server, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    name = f"bench_{secrets.token_hex(4)}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


if __name__ == "__main__":
    main()
