"""`manage.py runbook`: lint, apply, run, answer."""

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.identifiers import new_id
from core.parsing import Problem, refuse
from core.work import drain
from drivers.services import actions
from runbooks.data import ENDED, RunState
from runbooks.models import RunbookRun
from runbooks.selectors import lines_of, run_by_reference, runbooks_visible, runs_visible
from runbooks.services import (
    ADVANCE_QUEUE,
    answer_step,
    apply_documents,
    apply_hosts,
    approve_step,
    cancel_run,
    confirm_step,
    hand_over_run,
    keep_secret,
    lint_documents,
    pause_run,
    plan_run,
    resume_run,
    shipped_playbooks,
    start_run,
    take_over_run,
)

Slug = Annotated[str, typer.Argument(help="The runbook.")]
Given = Annotated[list[str] | None, typer.Option("--input", help="name=value; may be repeated.")]
As = Annotated[str, typer.Option("--as", help="User name to act as; without it, the site itself.")]
Paths = Annotated[list[Path], typer.Argument(exists=True, help="Markdown files, or folders of them.")]
PathsOrNone = Annotated[list[Path] | None, typer.Argument(exists=True, help="Markdown files, or folders of them.")]
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

    @command(name="actions")
    @answering
    def list_actions(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the actions that checks and steps may name."""
        rows = [
            {"action": name, "risk": one.risk.value, "repeat": one.idempotency.value, "does": one.description}
            for name, one in actions().items()
        ]
        print_rows(rows, columns=("action", "risk", "repeat", "does"), output=output, empty="No actions.")

    @command()
    @answering
    def lint(self, paths: Paths, output: FormatOption = OutputFormat.TEXT) -> None:
        """Check files: file, line, what, how to mend. Exit code 1: something is to mend."""
        problems = lint_documents([(str(path), _read(path)) for path in _files(paths)])
        if output is OutputFormat.JSON:
            print_json([_as_json(problem) for problem in problems])
        else:
            for problem in problems:
                typer.echo(f"{problem.where}: {problem.found}; {problem.allowed}")
        if problems:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def apply(
        self,
        paths: PathsOrNone = None,
        shipped: Annotated[bool, typer.Option(help="Also the playbooks that come with the site.")] = False,
        as_user: As = "",
    ) -> None:
        """Put files into force, all or nothing."""
        documents = [(path.name, _read(path)) for path in _files(paths or ())] + (
            shipped_playbooks() if shipped else []
        )
        if not documents:
            fail("Name a file, or say --shipped.")
        changed = apply_documents(principal=_principal(as_user), documents=documents)
        typer.echo(f"changed: {', '.join(changed) or '—'}")

    @command()
    @answering
    def plan(self, slug: Slug, given: Given = None, as_user: As = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Print what each block would do; nothing is done. Exit code 1: something could not be done."""
        planned = plan_run(principal=_principal(as_user), runbook_slug=slug, inputs=_inputs(given))
        if output is OutputFormat.JSON:
            print_json([asdict(one) for one in planned])
        else:
            for one in planned:
                typer.echo(f"{one.kind} {one.id}{f' {one.item}' if one.item else ''}: {one.summary or one.action}")
                for line in one.commands:
                    typer.echo(f"    {line}")
                if one.problem:
                    typer.echo(f"    PROBLEM: {one.problem}")
        if any(one.problem for one in planned):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def run(  # noqa: PLR0917 options of a command
        self,
        slug: Slug,
        given: Given = None,
        incident: Annotated[str, typer.Option(help="The incident it is for.")] = "",
        key: Annotated[str, typer.Option(help="The same key again prints the run there is.")] = "",
        wait: Annotated[bool, typer.Option(help="Wait for its end, or until a person is needed.")] = False,
        timeout: Annotated[int, typer.Option(help="Seconds to wait at most.")] = 600,
        as_user: As = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Start a run. With --wait, exit code 0: succeeded; 1: it ended otherwise; 3: it waits or is still running."""
        run = start_run(
            principal=_principal(as_user),
            runbook_slug=slug,
            inputs=_inputs(given),
            trigger="command line",
            idempotency_key=f"cli:{key}" if key else new_id("cli"),
            incident_reference=incident,
        )
        if wait:
            _wait_for(run, seconds=timeout)
        if output is OutputFormat.JSON:
            print_json({"run": run.reference, "runbook": slug, "state": run.state, "reason": run.reason})
        else:
            typer.echo(run.reference if not wait else f"{run.reference}: {run.state} {run.reason}".strip())
        if wait and run.state != RunState.SUCCEEDED:
            raise typer.Exit(ExitCode.NO if run.state in ENDED else ExitCode.UNKNOWN)

    @command()
    @answering
    def answer(  # noqa: PLR0917 options of a command
        self,
        reference: Reference,
        step: Annotated[str, typer.Argument(help="`agree`, or `restart[2]` for the second of `foreach`.")],
        answer: Annotated[str, typer.Argument(help="approve, reject, break-glass, or an answer of the block.")],
        evidence: Annotated[str, typer.Option(help="A link or a text that it rests on.")] = "",
        reason: Annotated[str, typer.Option(help="Why the glass is broken.")] = "",
        as_user: As = "",
    ) -> None:
        """Answer whatever a step asks."""
        answer_step(
            principal=_principal(as_user),
            run=_run(reference),
            step_id=step,
            answer=answer,
            evidence=evidence,
            reason=reason,
        )

    @command()
    @answering
    def output(self, reference: Reference) -> None:
        """Print the lines that a run's actions said, in order."""
        for line in lines_of(run=_run(reference), limit=100_000):
            typer.echo(f"{line.attempt.step.step_id}#{line.attempt.number}:{line.number} {line.text}")

    @command()
    @answering
    def pause(self, reference: Reference, reason: str = "", as_user: As = "") -> None:
        """Take no further step until somebody resumes."""
        pause_run(principal=_principal(as_user), run=_run(reference), reason=reason)

    @command()
    @answering
    def resume(self, reference: Reference, as_user: As = "") -> None:
        """Let a paused run go on."""
        resume_run(principal=_principal(as_user), run=_run(reference))

    @command(name="take-over")
    @answering
    def take_over(self, reference: Reference, as_user: As = "") -> None:
        """Become the operator of a run; needs --as, since a run is operated by a person."""
        take_over_run(principal=_principal(as_user), run=_run(reference))

    @command(name="hand-over")
    @answering
    def hand_over(self, reference: Reference, to: str, as_user: As = "") -> None:
        """Make somebody else, by user name, the operator of a run."""
        hand_over_run(principal=_principal(as_user), run=_run(reference), to=to)

    @command()
    @answering
    def hosts(
        self,
        path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML of remote hosts.")],
        key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The private key to reach them with.")],
        as_user: As = "",
    ) -> None:
        """Set remote hosts and the commands that ssh.command may run on them."""
        names = apply_hosts(
            principal=_principal(as_user), text=_read(path), source=path.name, private_key=key.read_text("utf-8")
        )
        typer.echo(f"set: {', '.join(names)}")

    @command()
    @answering
    def secret(self, name: str, team: str = "", as_user: As = "") -> None:
        """Keep a secret, read from standard input, that runbooks name as secret://NAME."""
        keep_secret(principal=_principal(as_user), name=name, value=sys.stdin.read().rstrip("\n"), team_slug=team)

    @command()
    @answering
    def status(self, reference: Reference, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print a run's steps. Exit code 1: it ended otherwise than well."""
        run = _run(reference)
        rows = [
            {
                "step": f"{s.step_id} {s.item}".strip(),
                "kind": s.kind,
                "state": s.state,
                "attempts": s.attempts.count(),
                "by": s.performed_by,
            }
            for s in run.steps.all()
        ]
        if output is OutputFormat.JSON:
            print_json({"run": reference, "state": run.state, "reason": run.reason, "steps": rows})
        else:
            typer.echo(f"{reference}: {run.state} {run.reason}")
            print_rows(rows, columns=("step", "kind", "state", "attempts", "by"), output=output, empty="No steps.")
        if run.state in ENDED and run.state != RunState.SUCCEEDED:
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
    def cancel(
        self,
        reference: Reference,
        reason: str = "cancelled by hand",
        roll_back: Annotated[bool, typer.Option(help="Undo what it has done.")] = False,
        as_user: As = "",
    ) -> None:
        """End a run; what it has done stays done, unless it is rolled back."""
        cancel_run(principal=_principal(as_user), run=_run(reference), reason=reason, roll_back=roll_back)


def _files(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are, and the Markdown files of folders in the order of their names."""
    return [file for path in paths for file in (sorted(path.rglob("*.md")) if path.is_dir() else [path])]


def _as_json(problem: Problem) -> dict[str, str | int | None]:
    place, _, _ = problem.where.partition(" ")
    file, colon, line = place.rpartition(":")
    known = bool(colon) and line.isdigit()
    return {"file": file if known else place, "line": int(line) if known else None, **vars(problem)}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(str(path), found=f"bytes that are not UTF-8 ({error.reason})", allowed="text is allowed") from None


def _inputs(given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    if wrong := next((name for name, equals, _ in pairs if not equals), None):
        fail(f"--input {wrong}: write it as name=value.")
    return {name: value for name, _, value in pairs}


def _wait_for(run: RunbookRun, *, seconds: int) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        drain(ADVANCE_QUEUE)
        run.refresh_from_db()
        if run.state in {*ENDED, RunState.WAITING, RunState.PAUSED}:
            return
        time.sleep(0.2)


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
