"""PostgreSQL: pause replay, take every connection, end sessions, promote, kill."""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field

from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from drivers.services.commands import start_marked
from drivers.services.faults import OneWay, ReversibleFault, fault_name
from drivers.services.processes import find_marked, kill_marked, send, wait_until

ROOT = Path(__file__).resolve().parents[2]
CONNECT_SECONDS = 5
SETTLE_SECONDS = 20.0


def _without_password(dsn: str) -> str:
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise ValueError(f"not a connection string: {error}") from None
    if "password" in parts or "sslpassword" in parts:
        raise ValueError("a password would be stored in clear; use a password file (.pgpass) or a service file")
    return dsn


class DatabaseArguments(Arguments):
    """Which server, as a connection string without a password."""

    dsn: Annotated[str, AfterValidator(_without_password)] = Field(min_length=1, max_length=500)


class ExhaustArguments(DatabaseArguments):
    """How many connections are taken."""

    connections: int = Field(ge=1, le=1000)


class SessionArguments(DatabaseArguments):
    """Whose sessions are ended: of a user, an application, or both."""

    user: str = Field(default="", max_length=63)
    application: str = Field(default="", max_length=63)


class KillArguments(Arguments):
    """Which server on this host, by its data directory."""

    data_directory: str = Field(pattern=r"^/[A-Za-z0-9_./-]{1,300}$")


def _connect(dsn: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS, autocommit=True, application_name="assay-drivers")


def _ask(dsn: str, statement: str, *values: object) -> Any:
    with _connect(dsn) as connection:
        row = connection.execute(statement.encode(), values).fetchone()
    return row[0] if row else None


def _server(dsn: str) -> str:
    parts = conninfo_to_dict(dsn)
    return f"{parts.get('host', 'local')}:{parts.get('port', '5432')}"


class _Database:
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    says: ClassVar[str]
    undone_by: ClassVar[str] = ""
    on_standby: ClassVar[bool | None] = None

    def probe(self, arguments: DatabaseArguments) -> Support:
        try:
            standby = _ask(arguments.dsn, "SELECT pg_is_in_recovery()")
        except psycopg.Error as error:
            return Support(supported=False, reason=f"the server does not answer: {error}".strip())
        if self.on_standby and not standby:
            return Support(supported=False, reason="this server is no standby")
        return Support(supported=True)

    def plan(self, arguments: DatabaseArguments) -> Plan:
        target = Target("database", _server(arguments.dsn))
        return Plan(
            summary=f"{self.says.format(**arguments.model_dump())} at {target.name}",
            targets=(target,),
            undo=self.undone_by,
            matched=1,
        )


class PauseReplay(_Database, ReversibleFault):
    """Lets a standby fall behind."""

    name: ClassVar[str] = "postgresql.pause_replay"
    description: ClassVar[str] = "Pause replay on a standby: it receives what the primary writes and does not show it."
    arguments: ClassVar[type[Arguments]] = DatabaseArguments
    proof: ClassVar[str] = "`pg_is_wal_replay_paused()`"
    says: ClassVar[str] = "Pause replay"
    undone_by: ClassVar[str] = "SELECT pg_wal_replay_resume()"
    on_standby: ClassVar[bool | None] = True

    def foresee(
        self,
        arguments: DatabaseArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 replay is paused or not
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        return {"was_paused": bool(_ask(arguments.dsn, "SELECT pg_is_wal_replay_paused()"))}

    def inject(self, arguments: DatabaseArguments, foreseen: dict[str, Any]) -> ActionResult:
        _ask(arguments.dsn, "SELECT pg_wal_replay_pause()")
        paused = wait_until(lambda: self.is_active(arguments, foreseen), seconds=SETTLE_SECONDS)
        return ActionResult(ok=paused, output=foreseen, error="" if paused else "replay did not pause")

    def undo(self, arguments: DatabaseArguments, output: dict[str, Any]) -> ActionResult:
        outcome = "was paused before"
        if not output["was_paused"]:
            outcome = "promoted meanwhile"
            if _ask(arguments.dsn, "SELECT pg_is_in_recovery()"):
                _ask(arguments.dsn, "SELECT pg_wal_replay_resume()")
                outcome = "goes on"
        return ActionResult(ok=True, output={"outcome": {_server(arguments.dsn): outcome}})

    def is_active(self, arguments: DatabaseArguments, output: dict[str, Any]) -> bool:
        if output["was_paused"] or not _ask(arguments.dsn, "SELECT pg_is_in_recovery()"):
            return False
        return bool(_ask(arguments.dsn, "SELECT pg_is_wal_replay_paused()"))


class ExhaustConnections(_Database, ReversibleFault):
    """Takes connections until others get none."""

    name: ClassVar[str] = "postgresql.exhaust_connections"
    description: ClassVar[str] = "Open and hold connections, so that others get none."
    arguments: ClassVar[type[Arguments]] = ExhaustArguments
    idempotency: ClassVar[Idempotency] = Idempotency.KEY
    proof: ClassVar[str] = "the marked process runs and holds what it could get"
    says: ClassVar[str] = "Hold {connections} connections"
    undone_by: ClassVar[str] = "kill the marked process; it ends by itself when its time is up"

    def foresee(
        self,
        arguments: ExhaustArguments,  # noqa: ARG002 how many does not matter to who takes them back
        *,
        idempotency_key: str,
        ttl: timedelta,
    ) -> dict[str, Any]:
        return {"mark": fault_name(idempotency_key), "seconds": ttl.total_seconds()}

    def inject(self, arguments: ExhaustArguments, foreseen: dict[str, Any]) -> ActionResult:
        mark, seconds = foreseen["mark"], str(foreseen["seconds"])
        command = [sys.executable, "-m", "drivers.holder", arguments.dsn, str(arguments.connections), seconds, mark]
        start_marked(command, mark=mark, folder=ROOT)

        def held() -> bool:
            return bool(self._held(arguments, mark)) or not find_marked(mark)

        wait_until(held, seconds=SETTLE_SECONDS)
        if not find_marked(mark):
            return ActionResult(ok=False, error="no connection could be opened")
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: ExhaustArguments, output: dict[str, Any]) -> ActionResult:
        killed = kill_marked(output["mark"])
        outcome = "connections given back" if killed else "was over already"
        return ActionResult(ok=not find_marked(output["mark"]), output={"outcome": {_server(arguments.dsn): outcome}})

    def is_active(self, arguments: ExhaustArguments, output: dict[str, Any]) -> bool:  # noqa: ARG002
        return bool(find_marked(output["mark"]))

    @staticmethod
    def _held(arguments: ExhaustArguments, mark: str) -> bool:
        try:
            counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            return int(_ask(arguments.dsn, counted, mark)) >= 1
        except psycopg.OperationalError:
            return True  # nobody else gets in: that is the fault


class EndSessions(OneWay, _Database):
    """Ends sessions."""

    name: ClassVar[str] = "postgresql.end_sessions"
    description: ClassVar[str] = "End the sessions of a user or an application; clients must connect again."
    arguments: ClassVar[type[Arguments]] = SessionArguments
    says: ClassVar[str] = "End sessions of {user} {application}"

    def run(self, arguments: SessionArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        if not arguments.user and not arguments.application:
            return ActionResult(ok=False, error="give user or application; both empty would mean everybody")
        ended = _ask(
            arguments.dsn,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND (%s = '' OR usename = %s) AND (%s = '' OR application_name = %s)",
            *(arguments.user, arguments.user, arguments.application, arguments.application),
        )
        return ActionResult(ok=bool(ended), output={"ended": ended}, error="" if ended else "no session matches")


class Promote(OneWay, _Database):
    """Promotes a standby."""

    name: ClassVar[str] = "postgresql.promote"
    description: ClassVar[str] = "Promote a standby to primary; going back needs a failback."
    arguments: ClassVar[type[Arguments]] = DatabaseArguments
    says: ClassVar[str] = "Promote the standby"
    on_standby: ClassVar[bool | None] = True

    def run(self, arguments: DatabaseArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        promoted = bool(_ask(arguments.dsn, "SELECT pg_promote(true, 60)"))
        return ActionResult(ok=promoted, output={}, error="" if promoted else "it was not promoted within 60 s")


class ReplicationLag(OneWay, _Database):
    """Looks how far behind replication is; its value is bytes."""

    name: ClassVar[str] = "postgresql.lag"
    description: ClassVar[str] = (
        "Look how many bytes of WAL are not replayed: by this standby of what it received, or by the primary's slowest."
    )
    arguments: ClassVar[type[Arguments]] = DatabaseArguments
    risk: ClassVar[Risk] = Risk.READ
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    says: ClassVar[str] = "Look at the replication lag"

    def run(self, arguments: DatabaseArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        standby = bool(_ask(arguments.dsn, "SELECT pg_is_in_recovery()"))
        if standby:
            statement = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint"
        else:
            statement = (
                "SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, '0/0')))::bigint"
                " FROM pg_stat_replication"
            )
        lag = _ask(arguments.dsn, statement)
        role = "standby" if standby else "primary"
        if lag is None:
            said = "nothing was received yet" if standby else "no standby is connected"
            return ActionResult(ok=False, output={"role": role}, error=said)
        return ActionResult(ok=True, output={"value": lag, "role": role})


class KillServer(OneWay, _Database):
    """Kills a server."""

    name: ClassVar[str] = "postgresql.kill"
    description: ClassVar[str] = "Kill a PostgreSQL server of this host with SIGKILL, as a crash of the host would."
    arguments: ClassVar[type[Arguments]] = KillArguments
    says: ClassVar[str] = "Kill the server"

    def probe(self, arguments: KillArguments) -> Support:  # type: ignore[override]
        found = self._postmaster(arguments)
        return Support(supported=found is not None, reason="" if found else "no server runs on this data directory")

    def plan(self, arguments: KillArguments) -> Plan:  # type: ignore[override]
        found = self._postmaster(arguments)
        return Plan(
            summary=f"Kill the server on {arguments.data_directory}" if found else "nothing: no server runs there",
            targets=(found,) if found else (),
            commands=(f"kill -KILL {found.identity['pid']}",) if found else (),
            matched=1,
        )

    def run(self, arguments: KillArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        found = self._postmaster(arguments)
        if found is None:
            return ActionResult(ok=False, error="no server runs on this data directory")
        send(found, signal.SIGKILL)
        ended = wait_until(lambda: self._postmaster(arguments) != found, seconds=SETTLE_SECONDS)
        return ActionResult(ok=ended, output={"pid": found.identity["pid"]}, error="" if ended else "it still runs")

    @staticmethod
    def _postmaster(arguments: KillArguments) -> Target | None:
        try:
            pid = int((Path(arguments.data_directory) / "postmaster.pid").read_text().splitlines()[0])
            process = psutil.Process(pid)
            mine = os.path.realpath(process.cwd()) == os.path.realpath(arguments.data_directory)
            if not mine or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return Target("database", arguments.data_directory, {"pid": pid, "started": process.create_time()})
        except (OSError, ValueError, IndexError, psutil.Error):
            return None


POSTGRESQL_ACTIONS = (PauseReplay(), ExhaustConnections(), EndSessions(), Promote(), ReplicationLag(), KillServer())
