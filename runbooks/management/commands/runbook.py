"""`manage.py runbook`: lint, apply, run, answer."""

from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.identifiers import new_id
from core.parsing import InputRefusedError
from runbooks.models import RunbookRun
from runbooks.selectors import run_by_reference, runbooks_visible, runs_visible
from runbooks.services import (
    apply_documents,
    approve_step,
    cancel_run,
    confirm_step,
    parse_runbook,
    start_run,
)

As = Annotated[str, typer.Option("--as", help="User name to act as; without it, the site itself.")]
Paths = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Markdown files.")]
Reference = Annotated[str, typer.Argument(help="The run.")]


class Command(RoomCommand):
    help = "Runbooks: documents that run step by step, with people's approval."

    @command(name="list")
    @answering
    def list_runbooks(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print all runbooks."""
        rows = [
            {"runbook": r.slug, "title": r.title, "owner": r.team.slug if r.team else None, "review_by": r.review_by}
            for r in runbooks_visible(viewer=system_principal("cli"))
        ]
        columns = ("runbook", "title", "owner", "review_by")
        print_rows(rows, columns=columns, output=output, empty="No runbooks yet: manage.py runbook apply FILE")

    @command()
    @answering
    def lint(self, paths: Paths, output: FormatOption = OutputFormat.TEXT) -> None:
        """Check files: file, line, what, how to mend. Exit code 1: something is to mend."""
        problems = []
        for path in paths:
            try:
                parse_runbook(path.read_text("utf-8"), source=path.name)
            except InputRefusedError as error:
                problems += error.problems
        if output is OutputFormat.JSON:
            print_json([vars(problem) for problem in problems])
        else:
            for problem in problems:
                typer.echo(f"{problem.where}: {problem.found}; {problem.allowed}")
        if problems:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def apply(self, paths: Paths, as_user: As = "") -> None:
        """Put files into force, all or nothing."""
        documents = [(path.name, path.read_text("utf-8")) for path in paths]
        changed = apply_documents(principal=_principal(as_user), documents=documents)
        typer.echo(f"changed: {', '.join(changed) or '—'}")

    @command()
    @answering
    def run(
        self,
        slug: Annotated[str, typer.Argument(help="The runbook.")],
        given: Annotated[list[str] | None, typer.Option("--input", help="name=value; may be repeated.")] = None,
        incident: Annotated[str, typer.Option(help="The incident it is for.")] = "",
        as_user: As = "",
    ) -> None:
        """Start a run and print its reference."""
        pairs = [text.partition("=") for text in given or ()]
        run = start_run(
            principal=_principal(as_user),
            runbook_slug=slug,
            inputs={name: value for name, _, value in pairs},
            trigger="command line",
            idempotency_key=new_id("cli"),
            incident_reference=incident,
        )
        typer.echo(run.reference)

    @command()
    @answering
    def status(self, reference: Reference, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print a run's steps. Exit code 1: it failed or was cancelled."""
        run = _run(reference)
        rows = [
            {"step": s.step_id, "kind": s.kind, "state": s.state, "attempts": s.attempts.count(), "by": s.performed_by}
            for s in run.steps.all()
        ]
        if output is OutputFormat.JSON:
            print_json({"run": reference, "state": run.state, "reason": run.reason, "steps": rows})
        else:
            typer.echo(f"{reference}: {run.state} {run.reason}")
            print_rows(rows, columns=("step", "kind", "state", "attempts", "by"), output=output, empty="No steps.")
        if run.state in {"failed", "cancelled"}:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def runs(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the newest runs."""
        rows = [
            {"run": r.reference, "runbook": r.revision.runbook.slug, "state": r.state, "incident": r.incident_reference}
            for r in runs_visible(viewer=system_principal("cli"))[:50]
        ]
        print_rows(rows, columns=("run", "runbook", "state", "incident"), output=output, empty="No runs yet.")

    @command()
    @answering
    def approve(self, reference: Reference, step: str, as_user: As = "") -> None:
        """Agree to what an approval guards; the operator cannot."""
        approve_step(principal=_principal(as_user), run=_run(reference), step_id=step)

    @command()
    @answering
    def confirm(self, reference: Reference, step: str, answer: str = "yes", as_user: As = "") -> None:
        """Answer a question of a run."""
        confirm_step(principal=_principal(as_user), run=_run(reference), step_id=step, answer=answer)

    @command()
    @answering
    def cancel(self, reference: Reference, reason: str = "cancelled by hand", as_user: As = "") -> None:
        """End a run; what it has done stays done."""
        cancel_run(principal=_principal(as_user), run=_run(reference), reason=reason)


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        fail(f"There is no active person named {username!r}.")
    return principal_for_user(user=user)


def _run(reference: str) -> RunbookRun:
    run = run_by_reference(reference=reference)
    if run is None:
        fail(f"There is no run {reference!r}. See manage.py runbook runs.")
    return run
