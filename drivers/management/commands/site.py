"""`manage.py site`: back the whole site up, put it back, and release what was restored."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from django.conf import settings
from django.core.management import call_command
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from core.cli import (
    ExitCode,
    FormatOption,
    OutputFormat,
    RoomCommand,
    answering,
    fail,
    print_answer,
    print_json,
    print_rows,
)
from core.clock import database_now
from core.generating import generator
from core.holding import current_hold
from core.partitions import open_months, partitioned_tables, problems
from core.rekeying import survey_keys
from core.work import oldest_overdue
from drivers.domain.redaction import redacted
from drivers.domain.site_encryption import (
    BackupKey,
    BackupUnreadableError,
    NewerFormatError,
    WrongKeyError,
    key_from_text,
)
from drivers.domain.site_manifest import Manifest
from drivers.services.partitioned import partition_rows
from drivers.services.site_backup import back_up, inspect_backup, write_key
from drivers.services.site_bundle import make_bundle
from drivers.services.site_check import Verdict, check_site
from drivers.services.site_database import NewerReleaseError, SiteError
from drivers.services.site_given_up import given_up, settle_given_up
from drivers.services.site_health import site_health
from drivers.services.site_hold import release_site
from drivers.services.site_keys import forget_previous_keys, make_new_key, rotate_keys
from drivers.services.site_restore import restore_site
from drivers.services.site_upgrade import UpgradePlan, go_back, plan_upgrade, upgrade_site
from ledger.services import ExportRefusedError

PASSPHRASE = "ASSAY_BACKUP_PASSPHRASE"  # noqa: S105 a variable's name
GOING_BACK = "What starts now works beside it; where this release is to stay, site upgrade --back."
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help=f"File with the key (site key FILE makes one); else {PASSPHRASE}.")
]
As = Annotated[str, typer.Option("--as", help="User name to act as; without it, the site itself.")]
RegionOption = Annotated[str, typer.Option(help="Region of the catalog that it goes to.")]
ReasonOption = Annotated[str, typer.Option(help="Why it goes there although the data must stay elsewhere.")]
BackupFile = Annotated[Path, typer.Argument(help="The backup.")]


class Command(RoomCommand):
    help = "The site itself: check, upgrade, keys, backup, restore, and the hold that a restored site starts with."
    # A site that is half restored must be reachable by the command that completes it.
    requires_system_checks = ()

    @command()
    @answering
    def key(self, path: Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")]) -> None:
        """Make a key file. Keep a copy where the backups are not: without it they cannot be read."""
        try:
            write_key(path)
        except OSError as error:
            fail(f"{path} cannot be made: {error.strerror}.")
        typer.echo(f"{path}: keep a copy where the backups are not.")

    @command()
    @answering
    def backup(  # noqa: PLR0917 the command line names them
        self,
        path: BackupFile,
        key_file: KeyFile = None,
        as_user: As = "",
        region: RegionOption = "",
        reason: ReasonOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Write database, artifacts, files and keys into one encrypted file. Exit code 1: an artifact was gone."""
        with _explained():
            report = back_up(
                principal=_principal(as_user),
                target=path,
                key=_key(key_file),
                progress=_progress(output),
                region=region,
                reason=reason,
            )
        _print(report.manifest, output, file=str(report.path), size_bytes=report.size, sha256=report.sha256)
        if report.manifest.artifacts_missing:
            fail(f"{len(report.manifest.artifacts_missing)} artifacts were gone already.", ExitCode.NO)

    @command()
    @answering
    def inspect(self, path: BackupFile, key_file: KeyFile = None, output: FormatOption = OutputFormat.TEXT) -> None:
        """Read a backup from end to end. Exit code 1: it is damaged."""
        with _explained():
            report = inspect_backup(source=path, key=_key(key_file), progress=_progress(output))
        _print(report.manifest, output, file=str(report.path), size_bytes=report.size, sha256=report.sha256)

    @command()
    @answering
    def restore(
        self,
        path: BackupFile,
        key_file: KeyFile = None,
        force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
        as_user: As = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Put a backup into this site's state folder and database; the site is held until it is released.

        Exit code 1: what is there now is not what the backup promised.
        """
        with _explained():
            report = restore_site(
                principal=_principal(as_user),
                source=path,
                key=_key(key_file),
                force=force,
                progress=_progress(output),
            )
        _print(
            report.manifest,
            output,
            held=report.held,
            ledger_size=report.ledger_size,
            closed_again=list(report.closed_again),
            differences=list(report.differences),
            ledger_problems=list(report.ledger_problems),
        )
        if not report.whole:
            fail("\n".join([*report.differences, *report.ledger_problems]), ExitCode.NO)
        if output is OutputFormat.TEXT:
            typer.echo(
                "Every session of the backup has ended. Accounts that were closed after it, and that no database here "
                "knew of, are open again: let the directory tell of them, or see manage.py account list."
            )
            typer.echo("Held: nothing leaves this site until manage.py site release --as USERNAME --note TEXT.")

    @command()
    @answering
    def status(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print whether the site is held and what waits. Exit code 1: it is held."""
        hold = current_hold()
        waiting = {name: round(age.total_seconds(), 1) for name, age in oldest_overdue().items()}
        if output is OutputFormat.JSON:
            print_json(
                {
                    "held": hold is not None,
                    "held_at": hold.held_at if hold else None,
                    "reason": hold.reason if hold else None,
                    "backup": hold.backup if hold else None,
                    "oldest_overdue_seconds": waiting,
                }
            )
        else:
            typer.echo(f"HELD since {hold.held_at:%Y-%m-%d %H:%M} UTC: {hold.reason}" if hold else "not held")
            for name, seconds in waiting.items():
                typer.echo(f"  {name}: oldest due for {seconds} s")
        if hold is not None:
            raise typer.Exit(ExitCode.NO)

    @command("check")
    @answering
    def ask_everything(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Ask configuration, database, migrations, versions, broker, storage, clock and keys.

        Exit code 1: something is not as it must be; 3: something could not be asked.
        """
        findings = check_site(principal=system_principal("cli"))
        rows = [{"check": one.check, "verdict": one.verdict.value, "says": one.says} for one in findings]
        print_rows(rows, columns=("check", "verdict", "says"), output=output, empty="")
        verdicts = {one.verdict for one in findings}
        if Verdict.BAD in verdicts:
            raise typer.Exit(ExitCode.NO)
        if Verdict.UNKNOWN in verdicts:
            raise typer.Exit(ExitCode.UNKNOWN)

    @command()
    @answering
    def health(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Say what is wrong with the site itself and what to do. Exit code 1: something is; 3: could not be asked."""
        found = site_health(principal=system_principal("cli"))
        if output is OutputFormat.JSON:
            print_json({**asdict(found), "verdict": found.verdict.value, "sentence": found.sentence})
        else:
            typer.echo(found.sentence)
            for problem in found.problems:
                typer.echo(f"  {problem.verdict.value}: {problem.says} {problem.do}".rstrip())
        if found.verdict is Verdict.BAD:
            raise typer.Exit(ExitCode.NO)
        if found.verdict is Verdict.UNKNOWN:
            raise typer.Exit(ExitCode.UNKNOWN)

    @command()
    @answering
    def partitions(
        self,
        open_ahead: Annotated[
            bool, typer.Option("--open", help="Open the months now, as the job core.partitions does every hour.")
        ] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """List the parts of tables that PostgreSQL keeps by month. Exit code 1: one is missing, or rows lie in none."""
        now = database_now()
        if open_ahead:
            for table in partitioned_tables():
                open_months(table, now=now)
        rows = partition_rows()
        columns = ("part", "range", "rows", "bytes", "oldest", "newest", "goes")
        print_rows(rows, columns=columns, output=output, empty="None: on SQLite each table is one.")
        if said := [problem for table in partitioned_tables() for problem in problems(table, now=now)]:
            fail("\n".join(said), ExitCode.NO)

    @command("given-up")
    @answering
    def list_given_up(  # noqa: PLR0917 the command line names them
        self,
        queue: Annotated[str, typer.Option(help="Only this queue.")] = "",
        retry: Annotated[bool, typer.Option("--retry", help="Try the rows again, once their cause is mended.")] = False,
        aside: Annotated[bool, typer.Option("--set-aside", help="Leave them undone for good; takes a reason.")] = False,
        row: Annotated[list[int] | None, typer.Option(help="Only this row; may be repeated.")] = None,
        reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "",
        as_user: As = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """List work that was given up, with its errors; try it again, or set it aside. Exit code 1: there is some."""
        me = _principal(as_user)
        if retry and aside:
            fail("--retry or --set-aside, not both.")
        if (retry or aside) and not queue:
            fail("Say which queue: --queue NAME.")
        with _explained():
            rows = [one for one in given_up(principal=me, queue=queue) if not row or one.key in row]
            if retry or aside:
                keys = [one.key for one in rows]
                count = settle_given_up(principal=me, queue=queue, keys=keys, again=retry, reason=reason)
                words = "due again" if retry else "set aside"
                print_answer({"queue": queue, "rows": count}, output=output, text=f"{queue}: {count} rows {words}.")
                return
        shown = [asdict(one) | {"what": redacted(one.what), "error": redacted(one.error)} for one in rows]
        if output is OutputFormat.TEXT:
            shown = [
                one | {"error": one["error"].strip().splitlines()[-1][:100] if one["error"] else ""} for one in shown
            ]
        columns = ("queue", "key", "what", "since", "attempts", "error")
        print_rows(shown, columns=columns, output=output, empty="Nothing was given up.")
        if rows:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def bundle(
        self,
        path: Annotated[Path, typer.Argument(help="The ZIP file to write; it must not be there yet.")],
        region: RegionOption = "",
        reason: ReasonOption = "",
    ) -> None:
        """Write the support bundle: how the site is and how it is set up, without secrets. It is recorded."""
        if path.exists():
            fail(f"{path} is there already.")
        try:
            _, data = make_bundle(principal=system_principal("cli"), region=region, reason=reason)
        except ExportRefusedError as error:
            fail(str(error), ExitCode.NO)
        path.write_bytes(data)
        typer.echo(f"{path}: {len(data)} bytes.")

    @command()
    @answering
    def upgrade(
        self,
        *,
        plan_only: Annotated[bool, typer.Option("--plan", help="Say what would be done; change nothing.")] = False,
        contract: Annotated[
            bool, typer.Option("--contract", help="Also what older processes cannot live with: none may run.")
        ] = False,
        back: Annotated[
            bool, typer.Option("--back", help="With the older release's code: give it the queues again.")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="With --back: though newer work waits.")] = False,
        unless_newer: Annotated[
            bool, typer.Option("--unless-newer", help="Where a newer release has been, change nothing: code 0.")
        ] = False,
        backup_to: Annotated[Path | None, typer.Option("--backup", help="Back up into this file first.")] = None,
        key_file: KeyFile = None,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Bring the database to this release while the release before still runs; say what to restart."""
        me = system_principal("cli")
        with _explained():
            if back:
                lowered = go_back(principal=me, force=force)
                print_answer(
                    {"queues": lowered}, output=output, text=f"This release takes: {', '.join(lowered) or 'all'}."
                )
                return
            if plan_only:
                plan = plan_upgrade(principal=me, contract=contract)
            else:
                key = _key(key_file) if backup_to else None

                def save() -> str:
                    if backup_to is None or key is None:
                        return ""
                    return back_up(principal=me, target=backup_to, key=key, progress=_progress(output)).sha256

                try:
                    plan = upgrade_site(principal=me, contract=contract, backup=save if backup_to else None)
                except NewerReleaseError as error:
                    if not unless_newer:
                        raise
                    print_answer({"newer_release": str(error)}, output=output, text=f"{error} {GOING_BACK}")
                    return
        _print_plan(plan, output, planned=plan_only)

    @command()
    @answering
    def generate(
        self,
        scale: Annotated[
            float, typer.Option(min=0.001, max=2, help="1: 10,000 SLOs, 1,000,000 alerts, 5,000,000 ledger entries.")
        ] = 0.1,
        seed: Annotated[int, typer.Option(help="The same seed and scale make the same site.")] = 1,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Make a large site on an empty PostgreSQL, to measure it. Not for a site that anybody uses."""
        make = generator()
        if make is None:
            fail("This installation has no generator.")
        call_command("migrate", verbosity=0)
        try:
            made = make(scale, seed, lambda line: typer.echo(line, err=True))
        except RuntimeError as error:
            fail(str(error))
        text = f"made in {sum(made.seconds.values()):.0f} s; sign in as admin, carol or victor"
        print_answer({"counts": made.counts, "seconds": made.seconds}, output=output, text=text)

    @command("rotate-keys")
    @answering
    def rotate(
        self,
        make: Annotated[
            bool, typer.Option("--make", help="Make a new key in the state folder; then restart everything.")
        ] = False,
        forget: Annotated[
            bool, typer.Option("--forget", help="Accept older keys no more, if nothing needs them.")
        ] = False,
        status: Annotated[
            bool, typer.Option("--status", help="Count what is under which key; change nothing.")
        ] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Store every secret under the key in use. May be stopped and run again. Exit code 1: some cannot be read."""
        me = system_principal("cli")
        with _explained():
            if make:
                path = make_new_key(principal=me)
                typer.echo(f"{path} is new; the old one is accepted. Restart every process, then run site rotate-keys.")
                return
            if forget:
                found = forget_previous_keys(principal=me)
            else:
                found = survey_keys() if status else rotate_keys(principal=me)
        rows = [vars(one) for one in found if one.current or one.older or one.unreadable]
        columns = ("name", "current", "older", "unreadable", "rewritten")
        print_rows(rows, columns=columns, output=output, empty="No secret is stored.")
        if forget and settings.ENVIRONMENT.secret_key_previous:
            typer.echo("Nothing needs an older key any more: unset SECRET_KEY_PREVIOUS.", err=True)
        if any(one.unreadable for one in found):
            fail("Some secrets are under a key that is not here: give it in SECRET_KEY_PREVIOUS.", ExitCode.NO)

    @command()
    @answering
    def release(
        self,
        note: Annotated[str, typer.Option(help="What was looked at; kept in the ledger.")],
        as_user: Annotated[str, typer.Option("--as", help="The person who releases it.")],
        send_waiting: Annotated[
            bool, typer.Option("--send-waiting", help="Also send messages that waited in the backup.")
        ] = False,
    ) -> None:
        """Let a restored site act again. Exit code 1: it is not held."""
        with _explained():
            _, withdrawn = release_site(principal=_principal(as_user), note=note, send_waiting=send_waiting)
        typer.echo(f"released; {withdrawn} messages of the backup were withdrawn")


def _last_line(error: str) -> str:
    """Return what an error says, without the way to it."""
    return error.strip().rpartition("\n")[2][:100]


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a backup or restore refuses into one line and the right exit code."""
    try:
        yield
    except SiteError as error:
        fail(str(error), ExitCode(error.code))
    except (WrongKeyError, NewerFormatError) as error:
        fail(f"{error} Nothing was changed.", ExitCode.WRONG_USE)
    except BackupUnreadableError as error:
        fail(f"{error} Nothing was changed.", ExitCode.NO)
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}", ExitCode.UNKNOWN)


def _print_plan(plan: UpgradePlan, output: OutputFormat, *, planned: bool) -> None:
    if output is OutputFormat.JSON:
        print_json({**vars(plan), "restart": plan.restart, "planned": planned})
        return
    typer.echo(f"{plan.from_version or 'no release noted'} → {plan.to_version}")
    for name in plan.now:
        typer.echo(f"  {'to apply' if planned else 'applied'}: {name}")
    for name in plan.later:
        typer.echo(f"  left, until no older process runs (site upgrade --contract): {name}")
    if plan.now or plan.raised:
        typer.echo(f"Restart, in this order: {', '.join(plan.restart)}.")
    else:
        typer.echo("Nothing to do.")


def _key(path: Path | None) -> BackupKey:
    if path is None:
        passphrase = os.environ.get(PASSPHRASE, "")
        if len(passphrase) < 12:
            fail(f"Give --key-file FILE, or a passphrase of at least 12 characters in {PASSPHRASE}.")
        return BackupKey(passphrase.encode(), is_passphrase=True)
    try:
        return key_from_text(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        fail(f"{path} is not a key file: {error}")


def _progress(output: OutputFormat) -> Callable[[str, int, int], None]:
    """Say on standard error where the work is, at most once for each tenth."""
    said: list[tuple[str, int]] = []

    def say(step: str, done: int, total: int) -> None:
        tenth = (step, done * 10 // total if total else 10)
        if output is OutputFormat.TEXT and tenth not in said:
            said.append(tenth)
            typer.echo(f"  {step} {tenth[1] * 10} %", err=True)

    return say


def _print(manifest: Manifest, output: OutputFormat, **more: Any) -> None:
    ledger = manifest.ledger
    facts = {
        "backup": manifest.backup,
        "made_at": manifest.made_at.isoformat(timespec="seconds"),
        "version": manifest.version,
        "engine": manifest.engine,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "artifacts": sum(name.startswith("artifacts/") for name in manifest.members),
        "ledger_size_in_backup": ledger.size if ledger else 0,
        "checkpoint_size": ledger.checkpoint_size if ledger else 0,
        "checkpoint_root": ledger.checkpoint_root if ledger else "",
        **more,
    }
    if output is OutputFormat.JSON:
        print_json({**facts, "counts": {name: table.rows for name, table in manifest.tables.items()}})
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {value if value not in ('', []) else '—'}")


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        fail(f"There is no active person named {username!r}.")
    return principal_for_user(user=user)
