"""PostgreSQL actions on a real primary and its standby."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.parsing import InputRefusedError
from drivers.services import (
    action_is_active,
    foresee_action,
    inject_action,
    plan_action,
    probe_action,
    run_action,
    undo_action,
)
from tests.drivers.conftest import wait_for

pytestmark = pytest.mark.integration


def binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass
class Server:
    data: Path
    port: int

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def ask(self, statement: str) -> Any:
        with psycopg.connect(self.dsn, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def as_postgres(*command: str) -> None:
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*user, *command], check=True, capture_output=True, timeout=60, cwd="/")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder = binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    base = Path(f"/tmp/assay-pg-{os.getpid()}")
    base.mkdir()
    if os.geteuid() == 0:
        shutil.chown(base, "postgres")
    primary, standby = Server(base / "primary", free_port()), Server(base / "standby", free_port())
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={base} -c fsync=off -c max_connections=12"

    def start(server: Server) -> None:
        command = f"-p {server.port} {options}"
        as_postgres(
            str(folder / "pg_ctl"), "-D", str(server.data), "-w", "-l", f"{server.data}.log", "-o", command, "start"
        )

    try:
        as_postgres(str(folder / "initdb"), "-D", str(primary.data), "-A", "trust", "-U", "postgres", "--no-sync")
        start(primary)
        as_postgres(str(folder / "pg_basebackup"), "-R", "-D", str(standby.data), "-d", primary.dsn, "--no-sync")
        start(standby)
        yield primary, standby
    finally:
        for server in (standby, primary):
            subprocess.run(
                [
                    *(["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []),
                    str(folder / "pg_ctl"), "-D", str(server.data), "-m", "immediate", "stop",
                ],
                check=False, capture_output=True, timeout=60, cwd="/",
            )  # fmt: skip
        shutil.rmtree(base, ignore_errors=True)


def inject(name: str, arguments: dict[str, Any], *, ttl: float = 60) -> dict[str, Any]:
    foreseen = foresee_action(name, arguments, idempotency_key=f"{name}{ttl}", ttl=timedelta(seconds=ttl))
    result = inject_action(name, arguments, foreseen, idempotency_key=f"{name}{ttl}")
    assert result.ok, result.error
    assert action_is_active(name, arguments, foreseen)
    return foreseen


def test_a_standby_falls_behind_while_its_replay_is_paused(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    primary.ask("CREATE TABLE IF NOT EXISTS mark (n int)")
    wait_for(lambda: standby.ask("SELECT to_regclass('mark')::text") == "mark")
    arguments = {"dsn": standby.dsn}
    output = inject("postgresql.pause_replay", arguments)
    primary.ask("INSERT INTO mark VALUES (1)")
    assert standby.ask("SELECT count(*) FROM mark") == 0
    for _ in range(2):
        assert undo_action("postgresql.pause_replay", arguments, output).ok
    wait_for(lambda: standby.ask("SELECT count(*) FROM mark") == 1)
    assert action_is_active("postgresql.pause_replay", arguments, output) is False
    assert "no standby" in probe_action("postgresql.pause_replay", {"dsn": primary.dsn}).reason


def test_connections_run_out_and_come_back(pair: tuple[Server, Server]) -> None:
    primary, _ = pair
    arguments = {"dsn": primary.dsn, "connections": 50}
    output = inject("postgresql.exhaust_connections", arguments)

    def refused() -> bool:
        try:
            primary.ask("SELECT 1")
        except psycopg.OperationalError as error:
            return "too many clients" in str(error)
        return False

    wait_for(refused)
    assert undo_action("postgresql.exhaust_connections", arguments, output).ok
    wait_for(lambda: not refused())
    assert action_is_active("postgresql.exhaust_connections", arguments, output) is False


def test_connections_are_given_back_when_nobody_takes_them_back(pair: tuple[Server, Server]) -> None:
    arguments = {"dsn": pair[0].dsn, "connections": 2}
    output = inject("postgresql.exhaust_connections", arguments, ttl=3)
    wait_for(lambda: action_is_active("postgresql.exhaust_connections", arguments, output) is False)


def test_sessions_of_an_application_are_ended_and_no_others(pair: tuple[Server, Server]) -> None:
    primary, _ = pair
    with (
        psycopg.connect(primary.dsn, application_name="shop") as shop,
        psycopg.connect(primary.dsn, application_name="other") as other,
    ):
        arguments = {"dsn": primary.dsn, "application": "shop"}
        assert run_action("postgresql.end_sessions", arguments, idempotency_key="k").output == {"ended": 1}
        with pytest.raises(psycopg.OperationalError):
            shop.execute("SELECT 1")
        other.execute("SELECT 1")
        shop.close()
    everybody = run_action("postgresql.end_sessions", {"dsn": primary.dsn}, idempotency_key="k")
    assert "everybody" in everybody.error


def test_a_killed_primary_is_gone_and_its_standby_takes_over(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    arguments = {"data_directory": str(primary.data)}
    plan = plan_action("postgresql.kill", arguments)
    assert plan.targets[0].identity["pid"] == int((primary.data / "postmaster.pid").read_text().split()[0])
    assert run_action("postgresql.kill", arguments, idempotency_key="k").ok
    with pytest.raises(psycopg.OperationalError):
        primary.ask("SELECT 1")
    assert not probe_action("postgresql.kill", arguments).supported
    assert "does not answer" in probe_action("postgresql.promote", {"dsn": primary.dsn}).reason
    assert run_action("postgresql.promote", {"dsn": standby.dsn}, idempotency_key="k").ok
    standby.ask("INSERT INTO mark VALUES (2)")
    assert standby.ask("SELECT pg_is_in_recovery()") is False


@pytest.mark.parametrize("dsn", ["host=h password=x", "postgresql://u:secret@h/d", "not a dsn ="])
def test_a_password_never_gets_into_a_definition(dsn: str) -> None:
    with pytest.raises(InputRefusedError, match=r"password|connection string"):
        plan_action("postgresql.promote", {"dsn": dsn})
