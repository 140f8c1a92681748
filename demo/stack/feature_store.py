"""The feature store: a table of features in its own SQLite database, filled by an ingester, served over HTTP.

Freshness is how old the newest feature is. Each second one check counts as fresh or stale, so that an SLO can count.
"""

import argparse
import json
import random
import sqlite3
import threading
import time
from http import HTTPStatus
from pathlib import Path

from opentelemetry.metrics import CallbackOptions, Counter, Observation

from demo.stack.server import RefusedError, StackHandler, serve
from demo.stack.telemetry import DURATION_BOUNDS, seconds_histogram, start_telemetry

TENANTS = 20
KEEP_ROWS = 5_000
FRESH_SECONDS = 10.0


class Features:
    """The store's table."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS feature"
                " (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, score REAL NOT NULL, written_at REAL NOT NULL)"
            )
        database.close()

    def write(self, chance: random.Random) -> None:
        """Write a new feature for one tenant and forget the oldest."""
        with self._connect() as database:
            database.execute(
                "INSERT INTO feature (tenant, score, written_at) VALUES (?, ?, ?)",
                (f"tenant-{chance.randrange(TENANTS)}", chance.random(), time.time()),
            )
            database.execute("DELETE FROM feature WHERE id <= (SELECT max(id) - ? FROM feature)", (KEEP_ROWS,))
        database.close()

    def latest(self, tenant: str) -> float | None:
        """Return a tenant's newest score."""
        with self._connect() as database:
            row = database.execute(
                "SELECT score FROM feature WHERE tenant = ? ORDER BY id DESC LIMIT 1", (tenant,)
            ).fetchone()
        database.close()
        return None if row is None else float(row[0])

    def age_seconds(self) -> float | None:
        """Return the age of the newest feature."""
        with self._connect() as database:
            row = database.execute("SELECT max(written_at) FROM feature").fetchone()
        database.close()
        return None if row[0] is None else time.time() - float(row[0])

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=5)


def ingest_for_ever(features: Features, checks: Counter, seed: int) -> None:
    """Write a feature and check freshness once a second."""
    chance = random.Random(seed)
    while True:
        features.write(chance)
        age = features.age_seconds()
        checks.add(1, {"outcome": "fresh" if age is not None and age <= FRESH_SECONDS else "stale"})
        time.sleep(1)


def main() -> None:
    """Run the feature store."""
    parser = argparse.ArgumentParser(description="The feature store of the demo stack.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    meter, tracer = start_telemetry("feature-store", instance="feature-store")
    features = Features(options.database)

    def observe(_options: CallbackOptions) -> list[Observation]:
        age = features.age_seconds()
        return [] if age is None else [Observation(age)]

    meter.create_observable_gauge(
        "feature_store.freshness", [observe], unit="s", description="Age of the newest feature."
    )
    checks = meter.create_counter(
        "feature_store.freshness.checks", unit="{check}", description="Checks by outcome: fresh or stale."
    )

    class FeatureHandler(StackHandler):
        """`GET /features/<tenant>`."""

        routes = {("GET", "features"): "read"}
        duration = seconds_histogram(
            meter, "http.server.request.duration", "Duration of HTTP server requests.", DURATION_BOUNDS
        )

        def read(self) -> None:
            tenant = self.path.rsplit("/", 1)[-1][:64]
            score = features.latest(tenant)
            if score is None:
                raise RefusedError(HTTPStatus.NOT_FOUND, "no features of this tenant yet")
            self.answer(HTTPStatus.OK, json.dumps({"tenant": tenant, "score": score}).encode())

    FeatureHandler.tracer = tracer
    threading.Thread(target=ingest_for_ever, args=(features, checks, options.seed), daemon=True).start()
    serve(FeatureHandler, port=options.port)


if __name__ == "__main__":
    main()
