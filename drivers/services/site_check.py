"""Ask everything that a site depends on whether it is as it must be."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection
from django.utils import timezone
from kombu import Producer, Queue

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.broker import SCHEME as EMBEDDED
from core.clock import database_now
from core.context import site_version
from core.holding import current_hold
from core.identifiers import new_id
from core.lifecycle import misplaced
from core.migrating import pending_and_unknown
from core.partitions import partitioned_tables, problems
from core.rekeying import survey_keys
from core.releases import current_release, formats_ahead
from core.replicas import REPLICA, replica_lag
from core.work import PeriodicJob, dead_counts, not_known_here, queue_formats
from drivers.services.site_certificate import own_certificate_until
from ledger.services import ExportRefusedError, ensure_store_stays, must_stay_in
from ledger.services.artifacts import scratch_folder

CLOCK_TOLERANCE = timedelta(seconds=5)
DISK_FLOOR_BYTES = 1024**3
CERTIFICATE_NOTICE = timedelta(days=14)


class Verdict(StrEnum):
    """What a check says."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One thing that was asked, and the answer in words."""

    check: str
    verdict: Verdict
    says: str


def check_site(*, principal: Principal) -> list[Finding]:
    """Return one finding for each thing that was asked. A check that breaks says so; the others are still asked."""
    ensure_may(principal, Capability.SITE_ADMIN)
    findings = [_asked("configuration", _configuration), _asked("database", _database)]
    later: dict[str, Callable[[], Finding]] = {
        "migrations": _migrations,
        "versions": _versions,
        "clock": _clock,
        "keys": _keys,
        "work": _work,
        "hold": _hold,
        "replica": _replica,
        "partitions": _partitions,
        "residency": _residency,
    }
    if findings[1].verdict is Verdict.UNKNOWN:
        findings += [Finding(name, Verdict.UNKNOWN, "The database did not answer.") for name in later]
    elif _is_empty():
        findings.append(Finding("migrations", Verdict.BAD, "The database is empty: run site upgrade, or site restore."))
    else:
        findings += [_asked(name, ask) for name, ask in later.items()]
    return [*findings, ask_broker(), ask_storage(), _asked("certificate", _certificate)]


def ask_broker() -> Finding:
    """Say whether the broker answers."""
    return _asked("broker", _broker)


def ask_storage() -> Finding:
    """Say whether the state folder and the artifact store take and give back files."""
    return _asked("storage", _storage)


def _asked(name: str, ask: Callable[[], Finding]) -> Finding:
    try:
        return ask()
    except DatabaseError as error:
        return Finding(name, Verdict.UNKNOWN, f"The database said: {str(error).strip().splitlines()[0]}")
    except Exception as error:  # noqa: BLE001 a check that breaks is an answer too, and the others are still asked
        return Finding(name, Verdict.UNKNOWN, f"{type(error).__name__}: {error}")


@cache
def _deployment_checks() -> list[checks.CheckMessage]:
    """Ask Django once: settings, code and address map do not change while a process lives."""
    return list(checks.run_checks(include_deployment_checks=True))


def _configuration() -> Finding:
    found = [one for one in _deployment_checks() if not one.is_silenced()]
    errors = [one for one in found if one.level >= checks.ERROR]
    # What concerns TLS is Django's to say only where the site says that it is reached over it.
    tls = settings.SITE_URL.startswith("https://")
    warned = [one for one in found if one.level == checks.WARNING and (tls or not str(one.id).startswith("security."))]
    if errors or settings.DEBUG:
        first = errors[0].msg if errors else "ASSAY_DEBUG is on."
        return Finding("configuration", Verdict.BAD, str(first))
    if warned:
        return Finding("configuration", Verdict.WARNING, "; ".join(f"{one.id}: {one.msg}" for one in warned)[:600])
    return Finding("configuration", Verdict.GOOD, "Django's deployment checks have nothing to say.")


def _database() -> Finding:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            return Finding("database", Verdict.GOOD, f"SQLite {cursor.fetchone()[0]}")
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, "
            "current_setting('transaction_read_only')"
        )
        version, number, read_only = cursor.fetchone()
    if read_only == "on":
        return Finding("database", Verdict.BAD, f"PostgreSQL {version} takes no writes: pages can be read, no more.")
    if number < 140000:
        return Finding("database", Verdict.BAD, f"PostgreSQL {version}; 14 or newer is needed.")
    return Finding("database", Verdict.GOOD, f"PostgreSQL {version}")


def _is_empty() -> bool:
    """Say whether nothing was ever applied: then every other answer would be that a table is missing."""
    return PeriodicJob._meta.db_table not in connection.introspection.table_names()  # noqa: SLF001 Django's documented name


def _migrations() -> Finding:
    pending, unknown = pending_and_unknown(connection)
    if unknown:
        names = ", ".join(".".join(key) for key in unknown[:3])
        return Finding("migrations", Verdict.WARNING, f"A newer release was here: it has had {names}.")
    if pending:
        first = ".".join(pending[0])
        return Finding(
            "migrations", Verdict.BAD, f"{len(pending)} migrations are missing, first {first}: run site upgrade."
        )
    return Finding("migrations", Verdict.GOOD, "All that this release knows are there, and no other.")


def _versions() -> Finding:
    stands, ahead = current_release(), formats_ahead(queue_formats())
    here = site_version()
    if ahead:
        return Finding("versions", Verdict.WARNING, f"Newer work, which this release leaves alone: {', '.join(ahead)}.")
    if stands is None or stands.version != here:
        was = stands.version if stands else "none"
        return Finding("versions", Verdict.WARNING, f"This is {here}; the database stands at {was}: run site upgrade.")
    return Finding("versions", Verdict.GOOD, f"Release {here}, since {stands.entered_at:%Y-%m-%d %H:%M} UTC.")


def _clock() -> Finding:
    apart = abs(database_now() - timezone.now())
    words = f"{apart.total_seconds():.1f} s apart from the database's."
    if apart > CLOCK_TOLERANCE:
        return Finding("clock", Verdict.BAD, f"This machine's clock is {words}")
    return Finding("clock", Verdict.GOOD, f"This machine's clock is {words}")


def _keys() -> Finding:
    found = survey_keys()
    unreadable = [one.name for one in found if one.unreadable]
    older = sum(one.older for one in found)
    if unreadable:
        return Finding("keys", Verdict.BAD, f"Stored under a key that is not here: {', '.join(unreadable)}.")
    for path in (Path(settings.LEDGER_KEY_FILE), Path(settings.STATE_DIR) / "secret_key"):
        if path.exists() and path.stat().st_mode & 0o077:
            return Finding("keys", Verdict.BAD, f"{path} can be read by others: chmod 600.")
    if older:
        return Finding("keys", Verdict.WARNING, f"Secrets under an older key: {older}; run site rotate-keys.")
    return Finding("keys", Verdict.GOOD, f"All stored secrets can be read: {sum(one.current for one in found)}.")


def _work() -> Finding:
    alien, dead = not_known_here(), dead_counts()
    if alien:
        return Finding("work", Verdict.WARNING, f"Waits for another release: {_counted(alien)}.")
    if dead:
        return Finding("work", Verdict.WARNING, f"Given up, a person must look: {_counted(dead)}.")
    return Finding("work", Verdict.GOOD, "Nothing was given up, and nothing waits for another release.")


def _hold() -> Finding:
    hold = current_hold()
    if hold is not None:
        return Finding("hold", Verdict.WARNING, f"Held since {hold.held_at:%Y-%m-%d %H:%M} UTC: {hold.reason}")
    return Finding("hold", Verdict.GOOD, "The site is not held.")


def _replica() -> Finding:
    if REPLICA not in settings.DATABASES:
        return Finding("replica", Verdict.GOOD, "None is configured; reports read the primary.")
    lag = replica_lag()
    if lag is None:
        return Finding("replica", Verdict.WARNING, "It does not answer, or does not follow; reports read the primary.")
    bound = settings.REPLICA_MAX_LAG
    if lag > bound:
        return Finding("replica", Verdict.WARNING, f"{lag.total_seconds():.0f} s behind; reports read the primary.")
    return Finding("replica", Verdict.GOOD, f"{lag.total_seconds():.1f} s behind.")


def _residency() -> Finding:
    where = must_stay_in()
    if not where:
        return Finding("residency", Verdict.GOOD, "No residency is asked for: ASSAY_REGION and the catalog say where.")
    try:
        ensure_store_stays()
    except ExportRefusedError as error:
        return Finding("residency", Verdict.BAD, f"The artifact store takes no file: {error}")
    if found := misplaced(where):
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        said = f"This site keeps its data in {where}; of these services it should not: {'; '.join(found[:3])}{more}."
        return Finding("residency", Verdict.WARNING, said)
    if not settings.REGION_NETWORKS:
        said = f"Data stays in {where}, but downloads are not asked where they go: declare ASSAY_REGION_NETWORKS."
        return Finding("residency", Verdict.WARNING, said)
    return Finding("residency", Verdict.GOOD, f"Data stays in {where}, files and answers of the API too.")


def _partitions() -> Finding:
    if connection.vendor != "postgresql":
        return Finding("partitions", Verdict.GOOD, "None: on SQLite each table is one.")
    now = database_now()
    said = [problem for table in partitioned_tables() for problem in problems(table, now=now)]
    if said:
        return Finding("partitions", Verdict.WARNING, "; ".join(said))
    count = len(partitioned_tables())
    return Finding("partitions", Verdict.GOOD, f"{count} tables are kept by month; the months ahead are open.")


def _broker() -> Finding:
    scheme = settings.CELERY_BROKER_URL.partition(":")[0]
    goes_on = "Work goes on, seconds later."
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=3)
    except Exception as error:  # noqa: BLE001 any transport may raise its own errors
        return Finding("broker", Verdict.UNKNOWN, f"{scheme} does not answer: {error}. {goes_on}")
    try:
        if not scheme.startswith(EMBEDDED):
            _send_and_take_back(confirmed=scheme.startswith("amqp"))
    except Exception as error:  # noqa: BLE001 as above
        why = (str(error) or type(error).__name__).rstrip(".").rpartition("caused error: ")[2][:120]
        full = f"Its memory or disk is full, or at the limit that was set for it ({why})."
        return Finding("broker", Verdict.WARNING, f"{scheme} answers, but takes no messages. {full} {goes_on}")
    return Finding("broker", Verdict.GOOD, f"{scheme} answers and takes messages.")


def _send_and_take_back(*, confirmed: bool) -> None:
    """Send a message to a queue that goes again. Raises what the transport does when the broker does not take it.

    A full broker still lets one connect: Redis refuses what is written, RabbitMQ stops reading and confirms nothing.
    """
    options = dict(current_app.conf.broker_transport_options)
    if confirmed:
        options |= {"confirm_publish": True, "read_timeout": 3, "write_timeout": 3}
    broker = current_app.connection_for_write(transport_options=options)
    try:
        channel = broker.channel()
        # With RabbitMQ the queue goes with its connection; a full broker would not even hear that it shall go.
        queue = Queue(f"assay.probe.{new_id('probe')}", channel=channel, exclusive=True, durable=False)
        queue.declare()
        waits: dict[str, Any] = {"timeout": 3, "confirm_timeout": 3} if confirmed else {}
        Producer(channel).publish("probe", routing_key=queue.name, delivery_mode=1, **waits)
        if queue.get(no_ack=True) is None:
            raise OSError("what was sent did not come back")
    finally:
        broker.collect(socket_timeout=1)


def _storage() -> Finding:
    for folder in (Path(settings.STATE_DIR), scratch_folder()):
        probe = folder / f".{new_id('probe')}"
        try:
            probe.write_bytes(b"probe")
            if probe.read_bytes() != b"probe":
                return Finding("storage", Verdict.BAD, f"{folder} does not give back what it was given.")
        except OSError as error:
            return Finding("storage", Verdict.BAD, f"{folder}: {error.strerror}. Files cannot be kept.")
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
        if free < DISK_FLOOR_BYTES:
            return Finding("storage", Verdict.WARNING, f"{folder} has {free // 1024**2} MiB left.")
    return Finding("storage", Verdict.GOOD, "The state folder and the artifact store take and give back files.")


def _certificate() -> Finding:
    try:
        until = own_certificate_until()
    except OSError as error:
        said = error.strerror or str(error)
        words = f"{settings.SITE_URL} does not answer from this machine ({said}); its certificate was not seen."
        return Finding("certificate", Verdict.WARNING, words)
    if until is None:
        return Finding("certificate", Verdict.GOOD, "None: the site's address is not https.")
    left = until - timezone.now()
    on = f"{until:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta(0):
        return Finding("certificate", Verdict.BAD, f"Expired on {on}: browsers and senders refuse the site.")
    if left <= CERTIFICATE_NOTICE:
        return Finding("certificate", Verdict.WARNING, f"Expires on {on}, in {left.days} days.")
    return Finding("certificate", Verdict.GOOD, f"Good until {on}.")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
