"""A private PostgreSQL cluster in a folder of its own: for rehearsals and for restoring into an isolated place.

It listens on one loopback port, asks for a password, speaks TLS, and logs connections. Run as root, the server runs as
the user `postgres`, because it refuses to run as root.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from drivers.services.site_database import SiteError

OWNER = "postgres"
USER = "assay"
START_SECONDS = 30


def postgresql_binaries() -> Path | None:
    """Return the folder of the newest installed server, or None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class PrivateCluster:
    """One server. `create` or `clone_from` fills its folder, `start` runs it, `remove` leaves nothing."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def dsn(self, *, port: int | None = None, timeout: int = 2, database: str = "postgres") -> str:
        """Return how to connect; `port` is that of whatever stands in front of it."""
        return (
            f"host=127.0.0.1 port={port or self.port} user={USER} password={self.password} dbname={database} "
            f"connect_timeout={timeout} sslmode=require"
        )

    def url(self, database: str = "postgres") -> str:
        """Return the address in the form of DATABASE_URL."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, settings: Sequence[str] = ()) -> None:
        """Initialize the data folder. Raises SiteError."""
        self._prepare_folder()
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password, "ascii")
        self._own(secret)
        self._run(
            "initdb", "-D", str(self.data), "-U", USER, "--pwfile", str(secret), "--no-sync",
            "--encoding=UTF8", "--auth-host=scram-sha-256", "--auth-local=scram-sha-256",
        )  # fmt: skip
        secret.unlink()
        self._write_certificate()
        hba = self.data / "pg_hba.conf"
        hba.write_text(
            f"hostssl all {USER} 127.0.0.1/32 scram-sha-256\nhostssl replication {USER} 127.0.0.1/32 scram-sha-256\n"
        )
        self.configure(
            "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "ssl = on", "log_connections = on",
            "wal_level = replica", "max_wal_senders = 10", "hot_standby = on", "max_connections = 60",
            "shared_buffers = '16MB'", *settings,
        )  # fmt: skip

    def clone_from(self, primary: "PrivateCluster", *, through_port: int | None = None, follow: bool = True) -> None:
        """Take a base backup of another cluster; with `follow` as its standby, over `through_port` if given."""
        self._prepare_folder()
        self.password = primary.password
        command = ["pg_basebackup", "-D", str(self.data), "--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        self._run(*command, "-d", primary.dsn(port=primary.port))
        if follow:
            (self.data / "standby.signal").touch()
            self._own(self.data / "standby.signal")
            self.configure(f"primary_conninfo = '{primary.dsn(port=through_port)}'")

    def configure(self, *lines: str) -> None:
        """Add settings; the last of a name counts."""
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as out:
            out.write("".join(f"{line}\n" for line in lines))

    def start(self) -> None:
        """Run the server and wait until it answers. Raises SiteError with the end of its log."""
        options = f"-p {self.port}"
        try:
            self._run(
                "pg_ctl", "-D", str(self.data), "-w", "-t", str(START_SECONDS), "-l", str(self.folder / "log"),
                "-o", options, "start",
            )  # fmt: skip
        except SiteError as error:
            said = (self.folder / "log").read_text("utf-8", "replace").splitlines()[-3:]
            raise SiteError(f"{error} {' '.join(said)}", code=3) from None

    def promote(self) -> None:
        """Make a standby a primary; returns once it accepts writes."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", str(START_SECONDS), "promote")

    def rewind_to(self, primary: "PrivateCluster") -> None:
        """Bring a failed primary's data folder back onto the new primary's history, as its standby."""
        self._run("pg_rewind", "-D", str(self.data), "--source-server", primary.dsn())
        (self.data / "standby.signal").touch()
        self._own(self.data / "standby.signal")
        self.configure(f"primary_conninfo = '{primary.dsn()}'", "primary_slot_name = ''")

    def ask_to_recover(self) -> None:
        """Have the next start replay the archive before it takes writes."""
        signal_file = self.data / "recovery.signal"
        signal_file.touch()
        self._own(signal_file)

    def kill(self) -> None:
        """Kill every process of the server at once (SIGKILL), as a host that fails does."""
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(_is_alive(process) for process in processes), seconds=10, every=0.005)

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self.processes():
            with suppress(SiteError):
                self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", "15", "stop")
        self.kill()

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Return the server's processes, the postmaster first; none when it does not run."""
        try:
            pid = int((self.data / "postmaster.pid").read_text("ascii").splitlines()[0])
            postmaster = psutil.Process(pid)
            if str(self.data) not in " ".join(postmaster.cmdline()):
                return []
            return [postmaster, *postmaster.children(recursive=True)]
        except (OSError, ValueError, IndexError, psutil.Error):
            return []

    def run_program(self, program: str, *arguments: str) -> str:
        """Run one of the server's programs as its owner and return what it said. Raises SiteError."""
        return self._run(program, *arguments)

    def _prepare_folder(self) -> None:
        if postgresql_binaries() is None:
            raise SiteError("PostgreSQL's server is not installed here.", code=3)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own(self.folder)

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, OWNER, OWNER)

    def _write_certificate(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private cluster")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=7))
            .sign(key, hashes.SHA256())
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for path, content in (("server.crt", certificate.public_bytes(Encoding.PEM)), ("server.key", secret)):
            target = self.data / path
            target.touch(mode=0o600)
            target.write_bytes(content)
            self._own(target)

    def _run(self, program: str, *arguments: str) -> str:
        binaries = postgresql_binaries()
        if binaries is None:
            raise SiteError("PostgreSQL's server is not installed here.", code=3)
        command = [str(binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", OWNER, "--", *command]
        # A server that inherits a pipe keeps it open: what is said goes to a file instead.
        said = self.folder / f"{program}.out"
        with said.open("ab") as out:
            done = subprocess.run(  # noqa: S603 fixed programs, no shell
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(self.folder)},
                check=False,
                timeout=120,
            )
        text = said.read_text("utf-8", "replace")
        if done.returncode:
            tail = " ".join(text.strip().splitlines()[-2:])
            raise SiteError(f"{program} failed: {tail or f'exit code {done.returncode}'}", code=3)
        return text


def _is_alive(process: psutil.Process) -> bool:
    """Say whether a process still does anything; one that waits to be collected does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_until(ready: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Ask until the answer is yes or the time is up; returns the last answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(every)
    return ready()
