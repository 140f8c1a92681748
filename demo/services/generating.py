"""Make a large site from a seed, on PostgreSQL: the same seed and scale make the same rows, but for their times.

Most rows are made by the server itself, one statement for each table. The ledger's hashes are computed here, because
each holds the one before, and are brought in by COPY: the log of a generated site verifies like any other.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction

from accounts.data import Role, system_principal
from accounts.services import create_user, grant_role
from catalog.services import apply_documents as apply_catalog
from core.clock import database_now
from core.generating import Generated
from core.parsing import load_yaml_documents
from incidents.services import apply_documents as apply_incidents
from ledger.data.access import AuditedAction
from ledger.services import make_checkpoint
from ledger.services.generating import append_generated
from reliability.services import apply_documents as apply_slos
from reliability.services.generating import add_generated_counts, keep_generated_figures

MAKER = system_principal("generator")
TEAMS = 50
AT_SCALE_ONE = {
    "services": 2_000,
    "slos": 10_000,
    "incidents": 100_000,
    "alerts": 1_000_000,
    "entries": 5_000_000,
}
DAYS = 365
MEMORY_TO_SORT_IN = "256MB"
PASSWORD = "generated-site-password"  # noqa: S105 of a site that is made to be measured
TEMPLATE = """
apiVersion: assay/v1
kind: Environment
metadata: {name: large, title: Large}
spec: {chaosAllowed: true}
---
apiVersion: assay/v1
kind: Service
metadata: {name: template, title: Template}
spec: {environment: large}
"""
INTEGRATION = """
apiVersion: assay/v1
kind: Integration
metadata: {name: generated}
spec: {type: alertmanager}
"""
SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: template, displayName: Template}
spec:
  service: template
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.995}]
  indicator:
    metadata: {name: template}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: otlp, spec: {metric: served, resource: {service.name: template}, le: 1.0}}}
        total: {metricSource: {type: otlp, spec: {metric: served, resource: {service.name: template}}}}
"""


class WrongDatabaseError(RuntimeError):
    """A large site is made on an empty PostgreSQL only."""


def generate_site(*, scale: float, seed: int, say: Callable[[str], None]) -> Generated:
    """Make a site of this scale. Raises WrongDatabaseError; each step is one transaction."""
    if connection.vendor != "postgresql":
        raise WrongDatabaseError("A large site is made on PostgreSQL: set DATABASE_URL.")
    if _value("SELECT count(*) FROM catalog_service"):
        raise WrongDatabaseError("This site has services already; a large site is made on an empty one.")
    counts = {name: max(int(number * scale), 20) for name, number in AT_SCALE_ONE.items()}
    made = Generated(counts={"teams": TEAMS, **counts})
    now = database_now().astimezone(UTC)
    of_incidents = ("incidents_incident", "incidents_incident_services", "incidents_timelineentry")
    of_entries = ("ledger_ledgerentry", "ledger_entrycontent", "ledger_seal", "ledger_treenode")
    # What each step is called, what it does, and the tables that it fills with very many rows.
    steps: list[tuple[str, Callable[[], object], tuple[str, ...]]] = [
        ("people", _people, ()),
        ("services", lambda: _services(counts["services"]), ()),
        ("slos", lambda: _slos(counts["slos"], counts["services"]), ()),
        ("counts", lambda: _counts(now, seed), ()),
        ("incidents", lambda: _incidents(counts["incidents"], counts["services"], seed, now), of_incidents),
        (
            "alerts",
            lambda: _alerts(counts["alerts"], counts["services"], counts["incidents"], seed, now),
            ("incidents_alert",),
        ),
        ("standings", keep_generated_figures, ()),
        ("entries", lambda: _entries(counts["entries"], counts["services"], seed, now), of_entries),
        ("statistics", lambda: _run("ANALYZE"), ()),
    ]
    for name, step, filled in steps:
        began = time.monotonic()
        with transaction.atomic(), _indexed_afterwards(filled):
            step()
        made.seconds[name] = round(time.monotonic() - began, 1)
        say(f"  {name}: {made.counts.get(name, '')} in {made.seconds[name]} s")
    make_checkpoint()
    return made


def _people() -> None:
    for name, role in (("admin", Role.ADMIN), ("carol", Role.COMPLIANCE_MANAGER), ("victor", Role.VIEWER)):
        user = create_user(principal=MAKER, username=name, password=PASSWORD, email=f"{name}@example.org")
        grant_role(principal=MAKER, user=user, role=role)
    _insert("accounts_team", f"generate_series(1, {TEAMS}) k", slug="'team-' || k", name="'Team ' || k")


def _services(count: int) -> None:
    apply_catalog(principal=MAKER, documents=load_yaml_documents(TEMPLATE, source="generated"), source="generated")
    _insert(
        "catalog_service",
        f"generate_series(1, {count}) k",
        slug="'svc-' || lpad(k::text, 5, '0')",
        name="'Service ' || k",
        description="'Serves part ' || k || ' of the large site.'",
        team_id=f"(SELECT min(id) FROM accounts_team) + k % {TEAMS}",  # nosec B608 names and numbers of its own
        environment_id="(SELECT id FROM catalog_environment WHERE slug = 'large')",
        tier="1 + k % 4",
        lifecycle="'production'",
    )
    # Each leans on two others before it, as a tree whose leaves share roots.
    _insert(
        "catalog_dependency",
        f"{_numbered_services()} CROSS JOIN (VALUES (2), (7)) f(n) "
        "JOIN catalog_service p ON p.slug = 'svc-' || lpad((1 + s.k / f.n)::text, 5, '0') WHERE s.k / f.n + 1 < s.k",
        consumer_id="s.id",
        provider_id="p.id",
    )


def _slos(count: int, services: int) -> None:
    apply_slos(principal=MAKER, documents=load_yaml_documents(SLO, source="generated"), source="generated")
    _insert(
        "reliability_slo",
        f"generate_series(1, {count}) k(k) JOIN {_numbered_services()} ON s.k = 1 + k.k % {services} ORDER BY k.k",
        slug="'slo-' || lpad(k.k::text, 6, '0')",
        name="'Part ' || k.k || ' answers in time'",
        service_id="s.id",
        labels="'{}'",
    )
    _copy_rows(
        "reliability_sloversion",
        "reliability_sloversion t JOIN reliability_slo o ON o.slug LIKE 'slo-%' "
        "WHERE t.slo_id = (SELECT id FROM reliability_slo WHERE slug = 'template')",
        slo_id="o.id",
        definition="jsonb_set(t.definition, '{metadata,name}', to_jsonb(o.slug))",
        effective_from=f"t.effective_from - interval '{DAYS} days'",
        target="0.99 + (o.id % 9) * 0.001",
    )


def _counts(now: datetime, seed: int) -> None:
    """An hour of minutes, and one minute of each of the days before, for every SLO."""
    minute = int(now.timestamp()) // 60
    minutes = [minute - day * 1440 for day in range(28, 0, -1)] + list(range(minute - 60, minute))
    versions = [row[0] for row in _rows("SELECT id FROM reliability_sloversion ORDER BY id")]
    add_generated_counts(version_ids=versions, minutes=minutes, seed=seed)


def _incidents(count: int, services: int, seed: int, now: datetime) -> None:
    opened = f"{_instant(now)} - interval '{DAYS} days' * ((({count} - k.k)::float8 + 1) / {count})"
    open_ones = max(count // 1000, 5)
    is_open = f"k.k > {count - open_ones}"
    _insert(
        "incidents_incident",
        f"generate_series(1, {count}) k(k) JOIN {_numbered_services()} "
        f"ON s.k = 1 + {_random('k.k', seed)} % {services} CROSS JOIN LATERAL (SELECT {opened} AS at) o ORDER BY k.k",
        title="'Service ' || s.k || ' answers slowly'",
        severity="'sev' || (1 + k.k % 4)",
        status=f"CASE WHEN {is_open} THEN 'triggered' ELSE 'resolved' END",
        grouping_key="'generated:' || k.k",
        route_name="'generated'",
        team_id="s.team_id",
        declared_by="'system:generator'",
        impact_started_at="o.at",
        detected_at="o.at",
        triggered_at="o.at",
        first_notified_at="o.at + interval '5 seconds'",
        acknowledged_at=f"CASE WHEN {is_open} THEN NULL ELSE o.at + interval '1 second' * (30 + k.k % 600) END",
        mitigated_at=f"CASE WHEN {is_open} THEN NULL ELSE o.at + interval '1 second' * (600 + k.k % 3600) END",
        resolved_at=f"CASE WHEN {is_open} THEN NULL ELSE o.at + interval '1 second' * (900 + k.k % 7200) END",
        resolved_by=f"CASE WHEN {is_open} THEN '' ELSE 'user:1' END",
    )
    _run(
        "INSERT INTO incidents_incident_services (incident_id, service_id) "
        "SELECT i.id, s.id FROM incidents_incident i "
        "JOIN catalog_service s ON s.name = 'Service ' || split_part(i.title, ' ', 2)"
    )
    kinds = (
        "(VALUES (1, 'alert', 'An alert came in.'), (2, 'status', 'Acknowledged.'), (3, 'note', 'It was the cache.'))"
    )
    _insert(
        "incidents_timelineentry",
        f"incidents_incident i CROSS JOIN {kinds} e(n, kind, text) ORDER BY i.id, e.n",
        incident_id="i.id",
        at="i.triggered_at + interval '1 minute' * e.n",
        recorded_at="i.triggered_at + interval '1 minute' * e.n",
        kind="e.kind",
        text="e.text",
        actor="'system:generator'",
        actor_label="'Generator'",
        source_key="'generated:' || e.n",
    )


def _alerts(count: int, services: int, incidents: int, seed: int, now: datetime) -> None:
    apply_incidents(principal=MAKER, documents=load_yaml_documents(INTEGRATION, source="generated"))
    came = f"{_instant(now)} - interval '{DAYS} days' * ((({count} - k.k)::float8 + 1) / {count})"
    firing = max(count // 2000, 5)
    _insert(
        "incidents_alert",
        f"generate_series(1, {count}) k(k) JOIN {_numbered_services()} "
        f"ON s.k = 1 + {_random('k.k', seed)} % {services} CROSS JOIN LATERAL (SELECT {came} AS at) o ORDER BY k.k",
        integration_id="(SELECT id FROM incidents_integration WHERE slug = 'generated')",
        fingerprint="'generated-' || k.k",
        episode_at="o.at",
        status=f"CASE WHEN k.k > {count - firing} THEN 'firing' ELSE 'resolved' END",
        title="'Latency of service ' || s.k",
        labels="jsonb_build_object('alertname', 'Latency', 'service', s.slug, 'severity', 'page')",
        annotations="'{}'",
        starts_at="o.at",
        resolved_at=f"CASE WHEN k.k > {count - firing} THEN NULL ELSE o.at + interval '10 minutes' END",
        first_received_at="o.at",
        last_received_at="o.at + interval '10 minutes'",
        occurrences="1 + k.k % 3",
        service_id="s.id",
        team_id="s.team_id",
        trail="'[]'",
        decision="'recorded'",
        handled_at="o.at",
        # Three in ten belong to an incident of their time.
        incident_id="CASE WHEN k.k % 10 < 3 THEN (SELECT min(id) FROM incidents_incident) "  # nosec B608 names and numbers of its own
        f"+ least({incidents} - 1, (k.k::bigint * {incidents}) / {count}) END",
    )


def _entries(count: int, services: int, seed: int, now: datetime) -> None:
    """Entries of two kinds, a year long, hashed and chained as the sealer does."""
    began = now - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / (count + 1)
    bodies: list[bytes] = []
    for number in range(1000):
        payload = AuditedAction(action="service.changed", target=f"svc-{number:05d}", reason=f"part {number}")
        bodies.append(orjson.dumps(payload.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS))

    def entries() -> Iterator[tuple[str, str, str, str, datetime, bytes, bytes]]:
        for number in range(count):
            nonce = hashlib.sha256(b"%d:%d" % (seed, number)).digest()
            subject = f"service:svc-{1 + number % services:05d}"
            actor = f"user:{1 + number % 3}"
            yield AuditedAction.entry_type, "AUD", actor, subject, began + step * number, nonce, bodies[number % 1000]

    append_generated(entries())


@contextlib.contextmanager
def _indexed_afterwards(tables: tuple[str, ...]) -> Iterator[None]:
    """Fill tables without their plain indexes and foreign keys; both are made again, and checked, at the end."""
    if not tables:
        yield
        return
    named = ", ".join(f"'{table}'::regclass" for table in tables)
    keys = _rows(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "  # nosec B608 names of its own
        f"WHERE contype = 'f' AND conrelid IN ({named})"
    )
    indexes = _rows(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "  # nosec B608 names of its own
        f"WHERE indrelid IN ({named}) AND NOT indisunique"
    )
    for table, name, _ in keys:
        _run(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    for index, _ in indexes:
        _run(f"DROP INDEX {index}")
    yield
    _run(f"SET LOCAL maintenance_work_mem = '{MEMORY_TO_SORT_IN}'")
    for _, definition in indexes:
        _run(definition)
    for table, name, definition in keys:
        _run(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


def _numbered_services() -> str:
    return "(SELECT id, slug, team_id, substr(slug, 5)::int AS k FROM catalog_service WHERE slug LIKE 'svc-%') s"


def _random(number: str, seed: int) -> str:
    """Return an expression that is the same for the same number and seed, and spread evenly."""
    return f"(hashint8extended({number}::bigint, {int(seed)}) & 2147483647)"


def _instant(moment: datetime) -> str:
    return f"timestamptz '{moment.isoformat()}'"


def _insert(table: str, source: str, **values: str) -> None:
    """Insert what a query gives; a column that is not named and may not be empty gets the neutral value of its type."""
    for name, kind, nullable, filled in _columns(table):
        if name not in values and not nullable and not filled:
            values[name] = NEUTRAL[kind]
    _run(f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {source}")  # nosec B608 names and numbers of its own


def _copy_rows(table: str, source: str, **changed: str) -> None:
    """Insert copies of the rows `t` of a query, with some columns otherwise."""
    names = [name for name, _, _, _ in _columns(table) if name != "id"]
    _run(
        f"INSERT INTO {table} ({', '.join(names)}) "  # nosec B608 names and numbers of its own
        f"SELECT {', '.join(changed.get(name, f't.{name}') for name in names)} FROM {source}"
    )


NEUTRAL = {
    "character varying": "''",
    "text": "''",
    "integer": "0",
    "bigint": "0",
    "smallint": "0",
    "boolean": "false",
    "jsonb": "'{}'",
    "bytea": "''",
    "timestamp with time zone": "now()",
}


def _columns(table: str) -> list[tuple[str, str, bool, bool]]:
    rows = _rows(
        "SELECT column_name, data_type, is_nullable = 'YES', column_default IS NOT NULL OR is_identity = 'YES' "  # nosec B608 names and numbers of its own
        f"FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = current_schema()"
    )
    return [(str(name), str(kind), bool(nullable), bool(filled)) for name, kind, nullable, filled in rows]


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _value(statement: str) -> Any:
    return _rows(statement)[0][0]
