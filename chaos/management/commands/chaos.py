"""`manage.py chaos`: plan, approve, run and stop experiments."""

from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from chaos.engine import compile_experiment
from chaos.models import ChaosRun, Experiment
from chaos.selectors import experiment_by_slug, experiments_visible, run_by_reference, runs_visible
from chaos.services import (
    GuardRefusedError,
    apply_documents,
    approve_plan,
    ask_guards,
    engage_kill_switch,
    plan_as_json,
    plan_run,
    release_kill_switch,
    request_run,
    stop_run,
)
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.parsing import load_yaml_documents

As = Annotated[str, typer.Option("--as", help="User name to act as; without it, the site itself.")]
Slug = Annotated[str, typer.Argument(help="The experiment.")]
Reference = Annotated[str, typer.Argument(help="The run.")]


class Command(RoomCommand):
    help = "Chaos experiments: what is hurt, how it is undone, whether it may."

    @command(name="list")
    @answering
    def list_experiments(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print experiments and their last verdict."""
        rows = []
        for experiment in experiments_visible(viewer=system_principal("cli")):
            last = ChaosRun.objects.filter(revision__experiment=experiment).first()
            rows.append(
                {
                    "experiment": experiment.slug,
                    "title": experiment.title,
                    "environment": experiment.environment.slug,
                    "last_run": last.reference if last else None,
                    "verdict": (last.verdict or last.state) if last else None,
                }
            )
        columns = ("experiment", "title", "environment", "last_run", "verdict")
        print_rows(rows, columns=columns, output=output, empty="No experiments yet: manage.py chaos apply FILE")

    @command()
    @answering
    def apply(self, path: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], as_user: As = "") -> None:
        """Create or update the experiments of a file, all or nothing."""
        documents = load_yaml_documents(path.read_bytes(), source=path.name)
        changed = apply_documents(principal=_principal(as_user), documents=documents, source=path.name)
        typer.echo(f"changed: {', '.join(changed) or '—'}")

    @command()
    @answering
    def plan(self, slug: Slug, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the real targets, the undo, and every guard's answer. Exit code 1: a guard says no."""
        plan = plan_run(experiment=_experiment(slug))
        decisions = ask_guards(plan, requested_by="cli")
        if output is OutputFormat.JSON:
            print_json(plan_as_json(plan, decisions))
        else:
            for fault in plan.faults:
                typer.echo(f"{fault.summary}\n  undo: {fault.undo}")
            for decision in decisions:
                typer.echo(f"  {'yes' if decision.allowed else 'NO '}  {decision.guard}: {decision.reason}")
        if not all(decision.allowed for decision in decisions):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def approve(self, slug: Slug, as_user: As = "") -> None:
        """Agree to the plan as it is now, for an hour; the author cannot."""
        approval = approve_plan(principal=_principal(as_user), experiment=_experiment(slug))
        typer.echo(f"approved until {approval.expires_at.isoformat(timespec='seconds')}")

    @command()
    @answering
    def run(self, slug: Slug, as_user: As = "") -> None:
        """Start a run. Exit code 1: a guard says no."""
        try:
            run = request_run(principal=_principal(as_user), experiment=_experiment(slug))
        except GuardRefusedError as error:
            fail(str(error), ExitCode.NO)
        typer.echo(run.reference)

    @command()
    @answering
    def stop(self, reference: Reference, reason: str = "stopped by hand", as_user: As = "") -> None:
        """Stop a run and undo its faults. Exit code 1: it was not going on."""
        if not stop_run(principal=_principal(as_user), run=_run(reference), reason=reason):
            fail("The run is not going on.", ExitCode.NO)

    @command(name="kill-switch")
    @answering
    def kill_switch(
        self,
        reason: Annotated[str, typer.Option(help="Why; shown to everybody.")] = "",
        release: Annotated[bool, typer.Option("--release", help="Let runs start again.")] = False,
        as_user: As = "",
    ) -> None:
        """Stop every run and let none start; --release ends it."""
        if release:
            release_kill_switch(principal=_principal(as_user))
        elif reason:
            engage_kill_switch(principal=_principal(as_user), reason=reason)
        else:
            fail("Give a --reason, or --release.")

    @command()
    @answering
    def runs(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the newest runs."""
        rows = [
            {
                "run": run.reference,
                "experiment": run.revision.experiment.slug,
                "state": run.state,
                "verdict": run.verdict,
                "reason": run.reason,
                "requested_at": run.requested_at.isoformat(timespec="seconds"),
            }
            for run in runs_visible(viewer=system_principal("cli"))[:50]
        ]
        columns = ("run", "experiment", "state", "verdict", "reason", "requested_at")
        print_rows(rows, columns=columns, output=output, empty="No runs yet.")

    @command()
    @answering
    def export(self, reference: Reference) -> None:
        """Print a run as a plain Chaos Toolkit experiment."""
        print_json(compile_experiment(_run(reference)))


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        fail(f"There is no active person named {username!r}.")
    return principal_for_user(user=user)


def _experiment(slug: str) -> Experiment:
    experiment = experiment_by_slug(slug=slug)
    if experiment is None:
        fail(f"There is no experiment {slug!r}. See manage.py chaos list.")
    return experiment


def _run(reference: str) -> ChaosRun:
    run = run_by_reference(reference=reference)
    if run is None:
        fail(f"There is no run {reference!r}. See manage.py chaos runs.")
    return run
