"""What the hosts of the playbooks can do: real processes and real databases in a folder of their own.

`python operations.py FOLDER COMMAND [ARGUMENT…]` is what an SSH host's document allows, word by word.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TIRES_AFTER = 14


def say(value: object) -> None:
    """Answer the caller."""
    sys.stdout.write(f"{value}\n")


def serve(port: str, version: str) -> None:
    """A small service; its version `bad` is unwell, and `tires` becomes so after some requests."""
    answered = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal answered
            answered += 1
            unwell = version == "bad" or (version == "tires" and answered > TIRES_AFTER)
            self.send_response(500 if unwell else 200)
            self.send_header("Content-Length", str(len(version)))
            self.end_headers()
            self.wfile.write(version.encode())

        def log_message(self, *args: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


class Folder:
    """State as files: `name.pid` for each process, and whatever the commands keep."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def start(self, name: str, *command: str) -> None:
        if self.alive(name):
            return
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        (self.path / f"{name}.pid").write_text(str(process.pid))

    def alive(self, name: str) -> bool:
        try:
            pid = int((self.path / f"{name}.pid").read_text())
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except (OSError, ValueError):
            return False

    def stop(self, name: str) -> None:
        if self.alive(name):
            with suppress(ProcessLookupError):
                os.kill(int((self.path / f"{name}.pid").read_text()), signal.SIGKILL)
        (self.path / f"{name}.pid").unlink(missing_ok=True)

    # A region.
    def start_region(self, region: str) -> None:
        port, version = (self.path / f"{region}.service").read_text().split()
        self.start(f"region-{region}", sys.executable, __file__, ".", "serve", port, version)

    def stop_region(self, region: str) -> None:
        self.stop(f"region-{region}")

    # A cluster of two nodes.
    def healthy_gpus(self, node: str) -> None:
        say((self.path / f"{node}.gpus").read_text())

    def cordon(self, node: str) -> None:
        (self.path / f"{node}.cordoned").touch()

    def uncordon(self, node: str) -> None:
        (self.path / f"{node}.cordoned").unlink(missing_ok=True)

    def drain(self, node: str) -> None:
        for file in sorted(self.path.glob(f"{node}-*.pid")):
            self.stop(file.stem)
            self.start(file.stem.replace(node, "spare"), "sleep", "600")

    def ready_replicas(self) -> None:
        say(sum(self.alive(file.stem) for file in self.path.glob("*-replica-*.pid")))

    # A database in a file, with backups.
    def backup_age_hours(self) -> None:
        newest = max((self.path / "backups").glob("*.sqlite3"), key=lambda file: file.stat().st_mtime)
        say(int((time.time() - newest.stat().st_mtime) / 3600))

    def restore_beside(self) -> None:
        newest = max((self.path / "backups").glob("*.sqlite3"), key=lambda file: file.stat().st_mtime)
        with (
            closing(sqlite3.connect(newest)) as source,
            closing(sqlite3.connect(self.path / "beside.sqlite3")) as target,
        ):
            source.backup(target)

    def drop_beside(self) -> None:
        (self.path / "beside.sqlite3").unlink(missing_ok=True)

    def count_beside(self) -> None:
        self._count("beside")

    def count_live(self) -> None:
        self._count("live")

    def _count(self, name: str) -> None:
        with closing(sqlite3.connect(f"file:{self.path / name}.sqlite3?mode=ro", uri=True)) as connection:
            say(connection.execute("SELECT count(*) FROM account").fetchone()[0])

    def swap(self) -> None:
        shutil.copyfile(self.path / "live.sqlite3", self.path / "before.sqlite3")
        (self.path / "beside.sqlite3").replace(self.path / "live.sqlite3")

    def swap_back(self) -> None:
        (self.path / "before.sqlite3").replace(self.path / "live.sqlite3")

    # One of two PostgreSQL servers; FOLDER is its data directory.
    def role(self) -> None:
        say(self._ask("SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE 1 END"))

    def lag_bytes(self) -> None:
        say(
            self._ask(
                "SELECT coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::bigint"
            )
        )

    def stop_server(self) -> None:
        if postgresql("pg_ctl", "-D", self.path, "status", check=False).returncode == 0:
            postgresql("pg_ctl", "-D", self.path, "-m", "fast", "-w", "stop")

    def promote(self) -> None:
        if self._ask("SELECT pg_is_in_recovery()") == "t":
            postgresql("pg_ctl", "-D", self.path, "-w", "promote")

    def point_writes(self) -> None:
        (self.path.parent / "writes-go-to").write_text(self.path.name)

    def probe_write(self) -> None:
        self._ask("INSERT INTO proof DEFAULT VALUES")
        say(self._ask("SELECT count(*) FROM proof"))

    def rebuild(self) -> None:
        other = self.path.parent / (self.path.parent / "writes-go-to").read_text()
        port = (self.path.parent / f"{self.path.name}.port").read_text()
        self.stop_server()
        shutil.rmtree(self.path)
        copy_server(other, self.path)
        start_server(self.path, port)

    def _ask(self, statement: str) -> str:
        port = (self.path.parent / f"{self.path.name}.port").read_text()
        asked = postgresql(
            "psql", "-U", "postgres", "-h", self.path.parent, "-p", port, "-d", "postgres", "-qtAc", statement
        )
        return asked.stdout.decode().strip()


PG = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/nowhere"))


def postgresql(program: str, *words: object, check: bool = True) -> "subprocess.CompletedProcess[bytes]":
    """Run one of PostgreSQL's programs; they refuse to run as root, so root lends them their own user."""
    user = "postgres" if os.geteuid() == 0 else None
    # What a server inherits stays open as long as it lives: output goes to a file, not to a pipe.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            [PG / program, *map(str, words)],
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd="/",
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        said.seek(0)
        done.stdout = said.read()
    if check and done.returncode:
        sys.exit(f"{program}: {done.stdout.decode()}")
    return done


def copy_server(source: Path, target: Path) -> None:
    """Make a standby of a running server."""
    port = (source.parent / f"{source.name}.port").read_text()
    postgresql(
        "pg_basebackup",
        "-U",
        "postgres",
        "-h",
        source.parent,
        "-p",
        port,
        "-D",
        target,
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
    )


def start_server(data: Path, port: str) -> None:
    """Start a PostgreSQL that listens on a socket in its parent folder alone."""
    (data.parent / f"{data.name}.port").write_text(port)
    options = f"-k {data.parent} -c listen_addresses= -p {port} -c fsync=off"
    postgresql("pg_ctl", "-D", data, "-w", "-l", data.parent / f"{data.name}.log", "-o", options, "start")


def make_pair(folder: Path) -> None:
    """Make a primary with one table, and a standby that follows it."""
    primary, standby = folder / "one", folder / "two"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    postgresql("initdb", "-D", primary, "-A", "trust", "-N", "-U", "postgres")
    start_server(primary, "5401")
    Folder(str(primary))._ask("CREATE TABLE proof (id serial)")
    (folder / "writes-go-to").write_text("one")
    copy_server(primary, standby)
    start_server(standby, "5402")


def end_pair(folder: Path) -> None:
    """Stop both servers at once, whatever they do."""
    for name in ("one", "two"):
        postgresql("pg_ctl", "-D", folder / name, "-m", "immediate", "stop", check=False)


def main() -> None:
    folder, command, *arguments = sys.argv[1:]
    if command == "serve":
        serve(*arguments)
    elif command == "make-pair":
        make_pair(Path(folder))
    else:
        getattr(Folder(folder), command.replace("-", "_"))(*arguments)


if __name__ == "__main__":
    main()
