"""`manage.py dr`: recovery tests, their calendar, and what they measured."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from chaos.data import RunState, Verdict
from chaos.domain.recovery_documents import Kind
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.recovery_selectors import (
    latest_recovery_run,
    recovery_run_by_reference,
    recovery_runs_visible,
    recovery_test_by_slug,
    recovery_tests_visible,
    spec_of_run,
)
from chaos.services.recovery import RecoveryRefusedError, apply_recovery_documents, request_recovery_run
from chaos.services.recovery_findings import clear_recovery_run
from chaos.services.recovery_running import carry_out
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.parsing import load_yaml_documents

As = Annotated[str, typer.Option("--as", help="User name to act as; without it, the site itself.")]
EXIT_CODES = {Verdict.PASSED: ExitCode.GOOD, Verdict.FAILED: ExitCode.NO, Verdict.DIRTY: ExitCode.NO}


class Command(RoomCommand):
    help = "Recovery tests: promised RTO and RPO against what was measured."

    @command(name="list")
    @answering
    def list_tests(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the tests, when they are due, and what the last run measured."""
        columns = ("test", "service", "kind", "next_due_at", "missed", "last_run", "verdict", "rto_s", "rpo_s")
        rows = [_test_row(test) for test in recovery_tests_visible(viewer=system_principal("cli"))]
        print_rows(rows, columns=columns, output=output, empty="No recovery tests yet: manage.py dr apply FILE")

    @command()
    @answering
    def apply(self, path: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], as_user: As = "") -> None:
        """Create or update the recovery tests of a file, all or nothing."""
        documents = load_yaml_documents(path.read_bytes(), source=path.name)
        changed = apply_recovery_documents(principal=_principal(as_user), documents=documents, source=path.name)
        typer.echo(f"changed: {', '.join(changed) or '—'}")

    @command()
    @answering
    def run(
        self,
        name: Annotated[str, typer.Argument(help="The test.")],
        wait: Annotated[bool, typer.Option("--wait", help="Carry it out here and print what was measured.")] = False,
        as_user: As = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Run a test. With --wait, exit code 0: passed, 1: failed, 2: refused, 3: inconclusive or aborted."""
        test = recovery_test_by_slug(slug=name)
        if test is None:
            fail(f"There is no recovery test {name!r}. See manage.py dr list.")
        try:
            run = request_recovery_run(principal=_principal(as_user), test=test)
        except RecoveryRefusedError as error:
            fail(str(error))
        if not wait or spec_of_run(run).kind is Kind.TABLETOP:
            typer.echo(run.reference)
            return
        if not carry_out(run):
            _wait_for(run)
        run.refresh_from_db()
        _print_result(run, output)
        raise typer.Exit(EXIT_CODES.get(Verdict(run.verdict), ExitCode.UNKNOWN))

    @command()
    @answering
    def show(
        self,
        reference: Annotated[str, typer.Argument(help="The run.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print what a run measured."""
        run = recovery_run_by_reference(reference=reference)
        if run is None:
            fail(f"There is no run {reference!r}. See manage.py dr runs.")
        _print_result(run, output)

    @command()
    @answering
    def clear(
        self,
        reference: Annotated[str, typer.Argument(help="The dirty run.")],
        reason: Annotated[str, typer.Option(help="What was looked at; kept in the ledger.")],
        as_user: As = "",
    ) -> None:
        """Remove what is left of a dirty run and let its test run again. Exit code 1: something is still there."""
        run = recovery_run_by_reference(reference=reference)
        if run is None:
            fail(f"There is no run {reference!r}. See manage.py dr runs.")
        try:
            clear_recovery_run(principal=_principal(as_user), run=run, reason=reason)
        except RecoveryRefusedError as error:
            fail(str(error), ExitCode.NO)
        typer.echo(f"{run}: cleared")

    @command()
    @answering
    def runs(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the newest runs."""
        rows = [
            {
                "run": run.reference,
                "test": run.test.slug,
                "state": run.state,
                "verdict": run.verdict,
                "rto_s": run.result.get("rto_sustained_s"),
                "rpo_s": run.result.get("rpo_s"),
                "lost_rows": run.result.get("lost_rows"),
                "reason": run.reason,
                "requested_at": run.requested_at.isoformat(timespec="seconds"),
            }
            for run in recovery_runs_visible(viewer=system_principal("cli"))[:50]
        ]
        columns = ("run", "test", "state", "verdict", "rto_s", "rpo_s", "lost_rows", "reason", "requested_at")
        print_rows(rows, columns=columns, output=output, empty="No runs yet.")

    @command(name="carry-out")
    @answering
    def carry_out(self, reference: Annotated[str, typer.Argument(help="The run.")]) -> None:
        """Carry out a run that was asked for (the worker starts this)."""
        run = recovery_run_by_reference(reference=reference)
        if run is None:
            fail(f"There is no run {reference!r}.")
        carry_out(run)


def _test_row(test: RecoveryTest) -> dict[str, Any]:
    last = latest_recovery_run(test=test)
    return {
        "test": test.slug,
        "service": test.service.slug,
        "kind": test.kind,
        "next_due_at": test.next_due_at.isoformat(timespec="seconds") if test.next_due_at else None,
        "missed": test.missed,
        "last_run": last.reference if last else None,
        "verdict": last.verdict if last else None,
        "rto_s": last.result.get("rto_sustained_s") if last else None,
        "rpo_s": last.result.get("rpo_s") if last else None,
    }


def _print_result(run: RecoveryTestRun, output: OutputFormat) -> None:
    said = {"run": run.reference, "state": run.state, "verdict": run.verdict or None, **run.result}
    if output is OutputFormat.JSON:
        print_json(said)
        return
    for name, value in said.items():
        typer.echo(f"{name.replace('_', ' ')}: {'—' if value in (None, '', [], {}) else value}")


def _wait_for(run: RecoveryTestRun) -> None:
    """Wait for a worker that has claimed the run first."""
    while RecoveryTestRun.objects.exclude(state=RunState.FINISHED).filter(pk=run.pk).exists():
        time.sleep(0.5)


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        fail(f"There is no active person named {username!r}.")
    return principal_for_user(user=user)
