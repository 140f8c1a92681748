"""How the site itself is: one sentence on top, and the figures that a person asks for when something is wrong."""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.beats import SILENT_AFTER, ProcessBeat, expected_locations
from core.clock import database_now
from core.context import site_version
from core.releases import current_release
from core.work import PeriodicJob, QueueStanding, queue_standings
from delivery.selectors import connectors, endpoints, outside_watches
from drivers.domain.redaction import redacted
from drivers.services.partitioned import partition_rows
from drivers.services.site_check import CLOCK_TOLERANCE, Finding, Verdict, check_site
from ledger.selectors import (
    artifact_totals,
    forwarders,
    latest_checkpoint,
    log_size,
    oldest_pending,
    pending_count,
    sealed_at,
)

LATE = timedelta(minutes=5)
LONGEST_SENTENCE = 240
SEALING_LATE = timedelta(minutes=1)
LIBRARIES = (
    "celery", "cryptography", "Django", "django-allauth", "djangorestframework", "granian", "kombu",
    "opentelemetry-sdk", "psycopg", "pydantic", "redis", "requests", "urllib3", "chaostoolkit-lib", "weasyprint",
)  # fmt: skip
_BADNESS = {Verdict.GOOD: 0, Verdict.WARNING: 1, Verdict.UNKNOWN: 2, Verdict.BAD: 3}


BROKER_ADVICE = "Start the broker again, or make room in it; nothing is lost meanwhile."


@dataclass(frozen=True)
class Problem:
    """Something that is not as it must be, and what to do about it."""

    verdict: Verdict
    says: str
    do: str


@dataclass
class Health:
    """How the site is. A part that could not be asked is left empty, and a problem says so."""

    asked_at: datetime
    problems: list[Problem] = field(default_factory=list)
    checks: list[Finding] = field(default_factory=list)
    queues: list[QueueStanding] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, Any] = field(default_factory=dict)
    forwarders: list[dict[str, Any]] = field(default_factory=list)
    channels: list[dict[str, Any]] = field(default_factory=list)
    storage: list[dict[str, Any]] = field(default_factory=list)
    replicas: list[dict[str, Any]] = field(default_factory=list)
    partitions: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst that was found."""
        return max((one.verdict for one in self.problems), key=_BADNESS.__getitem__, default=Verdict.GOOD)

    @property
    def state(self) -> str:
        """The verdict as the word of a state."""
        words = {Verdict.GOOD: "ok", Verdict.WARNING: "at-risk", Verdict.BAD: "failing", Verdict.UNKNOWN: "unknown"}
        return words[self.verdict]

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, in plain words; the worst first."""
        if not self.problems:
            return "Everything is as it must be."
        worst = self.problems[0]
        more = len(self.problems) - 1
        rest = f" And {more} more below." if more else ""
        return f"{worst.says} {worst.do}{rest}".strip()


def site_health(*, principal: Principal) -> Health:
    """Return how the site is. Raises PermissionDenied; a part that fails does not hide the others."""
    ensure_may(principal, Capability.SITE_ADMIN)
    health = Health(asked_at=_now())
    health.checks = check_site(principal=principal)
    advice = {
        "work": "manage.py site given-up lists it, tries it again, or sets it aside.",
        "storage": "Make room.",
        "broker": BROKER_ADVICE,
        "database": "Look at PostgreSQL: DATABASE_URL must lead to a primary that takes writes.",
        "certificate": "Renew it at the proxy that ends TLS.",
        "hold": "Backup and restore, in the settings, says what to look at before it is released.",
        "replica": "Look at the standby.",
    }
    for one in health.checks:
        if one.verdict is not Verdict.GOOD:
            health.problems.append(Problem(one.verdict, _short(one.says), advice.get(one.check, "")))
    parts: tuple[tuple[str, Callable[[Health, Principal], None]], ...] = (
        ("queues", _queues),
        ("jobs", _jobs),
        ("processes", _processes),
        ("ledger", _ledger),
        ("forwarding", _forwarders),
        ("channels", _channels),
        ("storage", _storage),
        ("replicas", _replicas),
        ("partitions", _partitions),
        ("versions", _versions),
    )
    for name, look in parts:
        try:
            look(health, principal)
        except (DatabaseError, OSError) as error:
            said = redacted(str(error).strip().partition("\n")[0])
            health.problems.append(Problem(Verdict.UNKNOWN, f"The {name} could not be asked: {said}", ""))
    health.problems.sort(key=lambda one: -_BADNESS[one.verdict])
    return health


def _now() -> datetime:
    try:
        return database_now()
    except DatabaseError:
        return timezone.now()


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SENTENCE else f"{text[: LONGEST_SENTENCE - 1]}…"


def _partitions(health: Health, _: Principal) -> None:
    health.partitions = partition_rows()


def _queues(health: Health, _: Principal) -> None:
    health.queues = queue_standings()
    late = [one for one in health.queues if one.oldest_due is not None and one.oldest_due > LATE]
    if late:
        worst = max(late, key=lambda one: one.oldest_due or timedelta(0))
        minutes = int((worst.oldest_due or timedelta(0)).total_seconds() // 60)
        some = "1 queue is" if len(late) == 1 else f"{len(late)} queues are"
        says = f"{some} late, {worst.name} by {minutes} minutes."
        health.problems.append(Problem(Verdict.BAD, says, "Start workers and a scheduler, or look at their logs."))


def _jobs(health: Health, _: Principal) -> None:
    now = health.asked_at
    for job in PeriodicJob.objects.all():
        waits = now - job.due_at
        health.jobs.append(
            {
                "name": job.name,
                "last_started_at": job.last_started_at,
                "last_succeeded_at": job.last_succeeded_at,
                "due_at": job.due_at,
                "error": redacted(job.last_error),
                "state": "failing" if job.last_error else "late" if waits > LATE and not job.lease_owner else "ok",
            }
        )
    failing = [job["name"] for job in health.jobs if job["state"] == "failing"]
    if failing:
        says = f"{len(failing)} recurring jobs failed in their last turn: {', '.join(failing[:3])}."
        health.problems.append(Problem(Verdict.WARNING, says, "Their errors are below; they try again by themselves."))


def _processes(health: Health, _: Principal) -> None:
    now = health.asked_at
    for one in ProcessBeat.objects.all():
        silent = now - one.seen_at > SILENT_AFTER
        health.processes.append(
            {
                "name": one.name,
                "kind": one.kind,
                "location": one.location,
                "release": one.release,
                "seen_at": one.seen_at,
                "clock_offset_seconds": round(one.clock_offset.total_seconds(), 3),
                "state": "silent" if silent else "running",
            }
        )
    running = [one for one in health.processes if one["state"] == "running"]
    for kind in ("scheduler", "worker"):
        if not any(one["kind"] == kind for one in running):
            health.problems.append(
                Problem(Verdict.BAD, f"No {kind} was heard of for {SILENT_AFTER.seconds} s.", f"Start a {kind}.")
            )
    served = {one["location"] for one in running if one["kind"] == "prober"}
    for location in sorted(expected_locations() - served):
        says = f"No prober of the location {location} was heard of for {SILENT_AFTER.seconds} s: its turns are unknown."
        health.problems.append(Problem(Verdict.BAD, says, f"Start manage.py prober --location {location} there."))
    apart = [one["name"] for one in running if abs(one["clock_offset_seconds"]) > CLOCK_TOLERANCE.total_seconds()]
    if apart:
        says = f"The clock of {apart[0]} is more than {CLOCK_TOLERANCE.seconds} s from the database's."
        health.problems.append(Problem(Verdict.BAD, says, "Let its machine keep time by NTP."))
    if len({one["release"] for one in running}) > 1:
        health.problems.append(
            Problem(Verdict.WARNING, "Processes of several releases run.", "Restart the older ones.")
        )


def _ledger(health: Health, _: Principal) -> None:
    oldest, checkpoint = oldest_pending(), latest_checkpoint()
    lag = health.asked_at - oldest if oldest else timedelta(0)
    health.ledger = {
        "entries": log_size(),
        "waiting": pending_count(),
        "sealing_lag_seconds": max(round(lag.total_seconds(), 1), 0),
        "checkpoint_size": checkpoint.size if checkpoint else None,
        "checkpoint_at": checkpoint.created_at if checkpoint else None,
    }
    if lag > SEALING_LATE:
        health.problems.append(
            Problem(Verdict.BAD, f"Entries wait for their seal since {int(lag.total_seconds())} s.", "Start a worker.")
        )


def _forwarders(health: Health, _: Principal) -> None:
    size = log_size()
    for row in forwarders():
        oldest = sealed_at(row.next_seq)
        health.forwarders.append(
            {
                "name": row.name,
                "kind": row.kind,
                "state": row.status,
                "waiting": max(size - row.next_seq, 0),
                "behind_seconds": round((health.asked_at - oldest).total_seconds()) if oldest else 0,
                "circuit": row.circuit,
                "error": redacted(row.last_error),
            }
        )
    behind = [one["name"] for one in health.forwarders if one["state"] == "failing"]
    if behind:
        says = f"{', '.join(behind[:3])} does not get the ledger."
        health.problems.append(Problem(Verdict.WARNING, says, "Its last error is under Forwarding."))


def _channels(health: Health, principal: Principal) -> None:
    for endpoint in endpoints(viewer=principal):
        health.channels.append(
            {
                "name": endpoint.slug,
                "kind": "webhook",
                "state": endpoint.circuit if endpoint.state == "active" else endpoint.state,
                "failures": endpoint.failures_in_row,
            }
        )
    health.channels += [
        {"name": one.slug, "kind": one.kind, "state": "enabled", "failures": 0} for one in connectors(viewer=principal)
    ]
    health.channels += [
        {"name": one.slug, "kind": "outside watch", "state": "failing" if one.last_error else "ok", "failures": 0}
        for one in outside_watches(viewer=principal)
    ]
    is_open = [one["name"] for one in health.channels if one["state"] == "open"]
    if is_open:
        says = f"The circuit of {', '.join(is_open[:3])} is open: nothing is sent there."
        health.problems.append(Problem(Verdict.WARNING, says, "Look at its receiver."))


def _storage(health: Health, _: Principal) -> None:
    state = Path(settings.STATE_DIR)
    used = shutil.disk_usage(state)
    count, size = artifact_totals()
    health.storage = [
        {"what": "disk of the state folder", "bytes": used.total - used.free, "free_bytes": used.free, "count": None},
        {"what": "database", "bytes": _database_bytes(), "free_bytes": None, "count": None},
        {"what": "artifacts", "bytes": size, "free_bytes": None, "count": count},
    ]


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])


def _replicas(health: Health, _: Principal) -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT application_name, state, EXTRACT(EPOCH FROM COALESCE(replay_lag, '0'))::float "
            "FROM pg_stat_replication ORDER BY 1"
        )
        health.replicas = [
            {"name": name or "unnamed", "state": state, "lag_seconds": lag} for name, state, lag in cursor.fetchall()
        ]


def _versions(health: Health, _: Principal) -> None:
    stands = current_release()
    health.versions = {
        "Assay": site_version(),
        "schema": stands.version if stands else "unknown",
        "Python": platform.python_version(),
        "system": platform.platform(),
        "database": next((one.says for one in health.checks if one.check == "database"), "unknown"),
        **_library_versions(),
    }


@cache
def _library_versions() -> dict[str, str]:
    """Read once what is installed: a process goes on with what it began with."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
