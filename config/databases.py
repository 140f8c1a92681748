"""Turn `DATABASE_URL` into Django's database setting."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def database_from_url(url: str, *, state_dir: Path) -> dict[str, Any]:
    """Return the `DATABASES["default"]` entry for a URL.

    `sqlite:////absolute/path.sqlite3` or `postgresql://user:password@host:5432/name?sslmode=require`;
    an empty URL is the SQLite file in the state folder. Raises ImproperlyConfigured for any other scheme.
    """
    if not url:
        url = f"sqlite:///{state_dir / 'assay.sqlite3'}"
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = unquote(parts.path)
        path = path[1:] if path.startswith("//") else path
        return {
            "ENGINE": "core.db.sqlite3",
            "NAME": path,
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 0,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
            "TEST": {"NAME": None},
        }
    if parts.scheme in {"postgres", "postgresql"}:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or dict(parse_qsl(parts.query)).get("host", ""),
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {key: value for key, value in parse_qsl(parts.query) if key != "host"},
        }
    raise ImproperlyConfigured(
        f"DATABASE_URL starts with {parts.scheme!r}; allowed are sqlite:///path and postgresql://user:password@host/name."
    )


def replica_from_url(url: str, *, state_dir: Path) -> dict[str, Any]:
    """Return the entry for a read replica. Raises ImproperlyConfigured for anything but PostgreSQL.

    It takes no writes, whatever asks; one that hangs must not hold a report for longer than a moment.
    """
    entry = database_from_url(url, state_dir=state_dir)
    if not entry["ENGINE"].endswith("postgresql"):
        raise ImproperlyConfigured("REPLICA_DATABASE_URL must be a standby of DATABASE_URL: postgresql://…")
    options = {"connect_timeout": "2", "options": "-c default_transaction_read_only=on", **entry["OPTIONS"]}
    return {**entry, "OPTIONS": options, "TEST": {"MIRROR": "default"}}


def bound_statements(database: dict[str, Any], *, seconds: float) -> None:
    """Let PostgreSQL end a statement that takes longer, so that one page cannot hold a connection for ever.

    For web processes, before they connect. Workers have work that may take long; SQLite has no such bound.
    """
    if seconds > 0 and database["ENGINE"] == "django.db.backends.postgresql":
        options = database["OPTIONS"]
        options["options"] = f"{options.get('options', '')} -c statement_timeout={round(seconds * 1000)}".strip()
