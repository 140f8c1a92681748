"""One archive for whoever helps: how the site is, how it is set up, its last log lines; without a secret.

Twice over: what is known to be secret is never gathered, and every file then passes a filter that takes out each secret
of this site by its value, and whatever has the shape of one.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from prometheus_client import generate_latest

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.fields import SecretUnreadableError
from core.giving_up import given_up_rows
from core.measuring import measured
from core.proving import dangerous
from core.rekeying import encrypted_fields
from core.work import dead_counts
from delivery.selectors import failed_tries
from drivers.domain.redaction import GONE, redacted
from drivers.services.site_database_facts import database_facts
from drivers.services.site_health import Health, site_health
from ledger.data.access import AuditedAction
from ledger.services import ensure_destination, record

LOG_TAIL_BYTES = 200_000
MOST_LOGS = 40
MOST_SECRETS = 20_000
ADDRESSES = ("database_url", "replica_database_url", "broker_url", "artifact_store_url", "assay_email_url")
# A variable with one of these in its name holds a secret, whoever reads it.
SECRET_WORDS = ("SECRET", "TOKEN", "PASSW", "PASSPHRASE", "HEADERS", "API_KEY", "PRIVATE", "CREDENTIAL")
SECRET_SETTINGS = ("secret_key", "secret_key_previous")


@dangerous("take a support bundle out")
def make_bundle(*, principal: Principal, region: str = "", reason: str = "") -> tuple[str, bytes]:
    """Return the archive's name and content, and record that it was made.

    It is made to be handed to somebody: where the data must stay, `region` says where they are. Raises
    PermissionDenied, ExportRefusedError.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    leaving = ensure_destination(region=region, reason=reason)
    now = database_now()
    known = set(known_secrets())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _files(site_health(principal=principal)):
            archive.writestr(name, _cleaned(text, known) if isinstance(text, str) else _json(_cleaned(text, known)))
    data = content.getvalue()
    record(
        AuditedAction(
            action="support_bundle.made",
            target="site",
            after={"sha256": hashlib.sha256(data).hexdigest(), "bytes": str(len(data)), **leaving},
            reason=reason.strip()[:500],
        ),
        actor=principal.reference,
        subject="site:support-bundle",
    )
    return f"assay-support-{now:%Y-%m-%d-%H%M}.zip", data


def known_secrets() -> Iterator[str]:
    """Yield every secret of this site by value: keys, passwords of addresses, and what encrypted fields hold."""
    environment = settings.ENVIRONMENT
    yield from (str(settings.SECRET_KEY), environment.secret_key)
    yield from (str(one) for one in environment.secret_key_previous)
    for name in ADDRESSES:
        parts = urlsplit(str(getattr(environment, name, "") or ""))
        for part in (parts.password, unquote(parts.password or "")):
            if part:
                yield part
    for path in (Path(settings.LEDGER_KEY_FILE), Path(settings.STATE_DIR) / "secret_key"):
        if path.is_file():
            yield path.read_text("utf-8", errors="replace").strip()
    for name, value in os.environ.items():
        if any(word in name.upper() for word in SECRET_WORDS):
            yield value
    for model, field in encrypted_fields():
        rows = model._base_manager.exclude(**{f"{field.attname}__isnull": True}).order_by("pk")  # noqa: SLF001 Django's documented name
        try:
            for value in rows.values_list(field.attname, flat=True)[:MOST_SECRETS]:
                yield from _pieces(value)
        except SecretUnreadableError:
            continue


def _pieces(value: str | None) -> Iterator[str]:
    """Yield a secret, its lines, and the values in it where it is JSON: each may stand in a log by itself."""
    if not value:
        return
    yield value
    yield from value.splitlines()
    try:
        inner = orjson.loads(value)
    except orjson.JSONDecodeError:
        return
    if isinstance(inner, dict):
        for one in inner.values():
            yield str(one)
            yield str(one).rpartition(" ")[2]


def _files(health: Health) -> Iterator[tuple[str, Any]]:
    yield (
        "README.txt",
        (
            "How this site is and how it is set up: no secrets, mail addresses, alerts, incidents or ledger entries.\n"
            f"{health.sentence}\n\n"
            "health.json         what is wrong, checks, queues, jobs, processes, sealing, channels, versions\n"
            "figures.txt         what /metrics says; docs/how-to/monitor-assay.md explains each\n"
            "given_up.json       work that was given up: queue, since when, tries, error\n"
            "deliveries.json     failed tries of late to send something: channel, answer, error\n"
            "database.json       PostgreSQL: settings, connections, largest tables, transactions longer than a second\n"
            "configuration.json  settings; of secrets whether they are set\n"
            "migrations.txt      what was applied\n"
            "logs/               the last 200 kB of each log of manage.py serve; of other processes add them by hand\n"
        ),
    )
    yield "health.json", {**asdict(health), "verdict": health.verdict, "sentence": health.sentence}
    yield "figures.txt", generate_latest(measured()).decode()
    for name, ask in (("given_up", _given_up), ("deliveries", failed_tries), ("database", database_facts)):
        try:
            yield f"{name}.json", ask()
        except DatabaseError as error:
            yield f"{name}.json", {"not_asked": str(error).partition("\n")[0]}
    yield "configuration.json", _configuration()
    yield "migrations.txt", "\n".join(_migrations()) + "\n"
    folder = Path(settings.STATE_DIR) / "log"
    logs = sorted(folder.glob("*.log*"))[:MOST_LOGS] if folder.is_dir() else []
    for path in logs:
        yield f"logs/{path.name}", _tail(path)


def _given_up() -> list[dict[str, Any]]:
    """Return what was given up without what it was about."""
    rows = [row for queue in dead_counts() for row in given_up_rows(queue, most=50)]
    return [{name: value for name, value in asdict(row).items() if name != "what"} for row in rows]


def _configuration() -> dict[str, Any]:
    """Return what differs between sites: addresses without names and passwords, of secrets whether they are set."""
    environment = settings.ENVIRONMENT
    shown: dict[str, Any] = {}
    for name, value in environment.model_dump().items():
        if name in SECRET_SETTINGS:
            shown[name] = GONE if value else "not set"
        elif name in ADDRESSES:
            parts = urlsplit(str(value))
            shown[name] = f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if value else "not set"
        else:
            shown[name] = str(value)
    names = sorted(name for name in os.environ if name.startswith(("ASSAY_", "OTEL_", "DJANGO_")))
    return {"settings": shown, "variables_set": names, "apps": list(settings.INSTALLED_APPS)}


def _migrations() -> list[str]:
    try:
        applied = MigrationRecorder(connection).applied_migrations()
    except DatabaseError:
        return ["The database did not answer."]
    return [f"{app} {name}" for app, name in sorted(applied)]


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - LOG_TAIL_BYTES, 0))
            data = file.read(LOG_TAIL_BYTES)
    except OSError as error:
        return f"It could not be read: {error.strerror}\n"
    text = data.decode("utf-8", errors="replace")
    # The first line may be half of one, and half a secret has no shape.
    return text.partition("\n")[2] if size > LOG_TAIL_BYTES else text


def _cleaned(value: Any, known: set[str]) -> Any:
    """Return text, or every text in a structure, without secrets."""
    if isinstance(value, str):
        return redacted(value, known=known)
    if isinstance(value, dict):
        return {name: _cleaned(inner, known) for name, inner in value.items()}
    return [_cleaned(inner, known) for inner in value] if isinstance(value, list | tuple) else value


def _json(value: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
