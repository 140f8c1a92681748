"""A site made of real processes, and what a test asks of it."""

import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg
import requests

from tests.forking import Forked, fork, make_tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = (
    "delivery_delivery",
    "incidents_escalationrun",
    "incidents_inboundevent",
    "core_eventdelivery",
    "core_periodicjob",
)


@dataclass
class Sink:
    """A receiver that notes the webhook-id of each request; it can be told to hang."""

    url: str = ""
    seen: list[str] = field(default_factory=list)
    hang: bool = False


@dataclass
class Site:
    """A state folder and what runs on it."""

    state: Path
    sink: Sink
    tokens: dict[str, str] = field(default_factory=dict)
    database_url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ASSAY_STATE_DIR": str(self.state),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.database_url,
            "BROKER_URL": "",
        }

    def start(self, *arguments: str, stdin: int | None = None, stdout: int | None = None) -> Forked:
        with (self.state / "stderr.log").open("a") as log:
            return fork(
                "tests.incidents.live_site",
                *arguments,
                environment=self.environment,
                stdin=stdin,
                stdout=stdout,
                stderr=log.fileno(),
            )

    def seed(self) -> None:
        """Make the tables, and the organization in them."""
        if not self.database_url:
            make_tables(self.state)
        seeding = self.start("seed", stdout=subprocess.PIPE)
        printed, _ = seeding.communicate()
        assert seeding.returncode == 0, (self.state / "stderr.log").read_text()
        self.tokens = orjson.loads(printed)

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait(240)

    def rows(self, statement: str) -> list[Any]:
        if self.database_url:
            with psycopg.connect(self.database_url, autocommit=True) as server:
                found = server.execute(statement)
                return found.fetchall() if found.description else []
        with closing(sqlite3.connect(self.state / "assay.sqlite3", timeout=20)) as connection, connection:
            return connection.execute(statement).fetchall()

    def expire_leases(self) -> None:
        """Let the leases of the dead run out without waiting a minute for it."""
        for table in TABLES:
            self.rows(f"UPDATE {table} SET lease_until = '2000-01-01 00:00:00' WHERE lease_until IS NOT NULL")


def wait_until(condition: Callable[[], bool], *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Say whether an address answers with success."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
