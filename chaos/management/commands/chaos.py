"""`manage.py chaos`: plan, approve, run and stop experiments."""

import time
from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from chaos.coverage_selectors import coverage
from chaos.data import RunState, Verdict
from chaos.domain.coverage import FailureMode
from chaos.models import ChaosRun, Experiment
from chaos.program_models import ChaosFinding
from chaos.selectors import (
    experiment_by_slug,
    experiments_visible,
    findings_visible,
    missed_turns,
    run_as_json,
    run_by_reference,
    runs_visible,
    schedules_visible,
)
from chaos.services import (
    GuardRefusedError,
    Missing,
    apply_documents,
    approve_plan,
    ask_guards,
    clear_dirty_run,
    compile_experiment,
    engage_kill_switch,
    export_experiment,
    import_experiment,
    mend_finding,
    pause_schedule,
    plan_as_json,
    plan_run,
    predicted_budgets,
    release_kill_switch,
    request_run,
    stop_all_runs,
    stop_run,
    verify_clean,
    waive_retest,
)
from chaos.services.templates import filled, templates
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.clock import database_now
from core.parsing import load_yaml_documents

As = Annotated[str, typer.Option("--as", help="User name to act as; without it, the site itself.")]
Slug = Annotated[str, typer.Argument(help="The experiment.")]
Reference = Annotated[str, typer.Argument(help="The run.")]
FindingNumber = Annotated[int, typer.Argument(metavar="FINDING", help="Its number, as `chaos findings` prints it.")]


VERDICT_CODES = {
    Verdict.PASSED: 0,
    Verdict.FAILED: 1,
    Verdict.INCONCLUSIVE: 3,
    Verdict.REFUSED: 4,
    Verdict.DIRTY: 5,
    Verdict.ABORTED: 6,
}
LOOK_EVERY_SECONDS = 0.5


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
            for one in predicted_budgets(plan):
                left = "not measured" if one.left is None else f"{one.left:.1f} % left"
                typer.echo(f"  budget of {one.slo}: {left}, {one.expected:.1f} % expected ({one.because})")
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
    def run(
        self,
        slug: Slug,
        as_user: As = "",
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Start a run. Exit code 4: a guard refuses. With --wait 0 passed, 1 failed, 3 inconclusive, 5 dirty,
        6 aborted.
        """
        try:
            run = request_run(principal=_principal(as_user), experiment=_experiment(slug))
        except GuardRefusedError as error:
            if output is OutputFormat.JSON:
                print_json({"verdict": "refused", "guards": [vars(decision) for decision in error.decisions]})
            typer.echo(str(error), err=True)
            raise typer.Exit(VERDICT_CODES[Verdict.REFUSED]) from None
        if wait:
            run = _finished(run.reference)
        if output is OutputFormat.JSON:
            print_json(run_as_json(run))
        else:
            typer.echo(f"{run.reference}{f'  {run.verdict}: {run.reason}' if wait else ''}")
        if wait:
            raise typer.Exit(VERDICT_CODES[Verdict(run.verdict)])

    @command()
    @answering
    def stop(
        self,
        reference: Annotated[str, typer.Argument(help="The run; leave it out with --all.")] = "",
        everything: Annotated[bool, typer.Option("--all", help="Every run that is going on.")] = False,
        reason: Annotated[str, typer.Option(help="Why; kept with the run.")] = "",
        as_user: As = "",
    ) -> None:
        """Stop a run, or with --all every run, and undo the faults. Exit code 1: it was not going on."""
        if bool(reference) == everything:
            fail("Name a run, or say --all.")
        if everything:
            if not reason:
                fail("Stopping every run needs a --reason.")
            stopped = stop_all_runs(principal=_principal(as_user), reason=reason)
            typer.echo(f"stopped: {', '.join(stopped) or 'none was going on'}")
            return
        if not stop_run(principal=_principal(as_user), run=_run(reference), reason=reason or "stopped by hand"):
            fail("The run is not going on.", ExitCode.NO)

    @command(name="verify-clean")
    @answering
    def verify_clean(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Look at the targets for what is left of any fault. Exit code 1: something is; 3: it cannot be told."""
        remnants = verify_clean()
        rows = [{"what": one.what, "where": one.where, "certain": one.certain} for one in remnants]
        print_rows(rows, columns=("what", "where", "certain"), output=output, empty="Nothing is left of any fault.")
        if remnants:
            raise typer.Exit(ExitCode.NO if any(one.certain for one in remnants) else ExitCode.UNKNOWN)

    @command()
    @answering
    def clear(
        self,
        reference: Reference,
        reason: Annotated[str, typer.Option(help="What was done to the targets; kept in the ledger.")],
        as_user: As = "",
    ) -> None:
        """Declare a run's dirty targets well again. Exit code 1: none was dirty."""
        if not clear_dirty_run(principal=_principal(as_user), run=_run(reference), reason=reason):
            fail("No fault of this run is dirty.", ExitCode.NO)

    @command()
    @answering
    def schedule(
        self,
        output: FormatOption = OutputFormat.TEXT,
        pause: Annotated[str, typer.Option(help="Pause the schedule of this experiment.")] = "",
        resume: Annotated[str, typer.Option(help="Let the schedule of this experiment go on.")] = "",
        as_user: As = "",
    ) -> None:
        """Print schedules with their next and last turn; pause or resume one."""
        if pause or resume:
            pause_schedule(principal=_principal(as_user), experiment=_experiment(pause or resume), paused=bool(pause))
        rows = [
            {
                "experiment": one.experiment.slug,
                "cron": one.definition["cron"],
                "zone": one.definition["zone"],
                "next": "paused" if one.paused_by else one.due_at.isoformat(timespec="seconds"),
                "last": last.outcome if (last := one.experiment.turns.first()) else None,
                "missed": missed_turns(experiment=one.experiment),
            }
            for one in schedules_visible(viewer=_principal(as_user))
        ]
        columns = ("experiment", "cron", "zone", "next", "last", "missed")
        print_rows(rows, columns=columns, output=output, empty="No experiment has a schedule.")

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

    @command(name="templates")
    @answering
    def print_templates(
        self,
        name: Annotated[str, typer.Argument(help="Print this one.")] = "",
        given: Annotated[list[str] | None, typer.Option("--set", help="place=value; repeat it.")] = None,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print the templates, or one of them with its places filled in."""
        if name:
            typer.echo(filled(name, dict(one.partition("=")[::2] for one in given or [])))
            return
        rows = [{"template": one.name, "places": ", ".join(one.places), "about": one.about} for one in templates()]
        print_rows(rows, columns=("template", "places", "about"), output=output, empty="No templates.")

    @command(name="coverage")
    @answering
    def print_coverage(self, output: FormatOption = OutputFormat.TEXT, as_user: As = "") -> None:
        """Print each service's score and its newest proof for each failure mode."""
        rows = []
        for row in coverage(viewer=_principal(as_user), now=database_now()):
            proofs = {
                mode.value: f"{proof.verdict} {proof.at.date()}" if (proof := row.newest.get(mode)) else None
                for mode in FailureMode
            }
            rows.append({"service": row.service.slug, "tier": row.service.tier, "score": row.score.points, **proofs})
        columns = ("service", "tier", "score", *(mode.value for mode in FailureMode))
        print_rows(rows, columns=columns, output=output, empty="No services yet.")

    @command()
    @answering
    def findings(self, output: FormatOption = OutputFormat.TEXT, as_user: As = "") -> None:
        """Print what runs have shown to be wrong. Exit code 1: a retest is overdue."""
        now = database_now()
        rows = [
            {
                "finding": one.pk,
                "experiment": one.experiment.slug,
                "kind": one.kind,
                "state": "overdue" if one.is_overdue(now) else one.state,
                "retest_due": one.retest_due_at.isoformat(timespec="seconds") if one.retest_due_at else None,
                "text": one.text,
            }
            for one in findings_visible(viewer=_principal(as_user))[:200]
        ]
        columns = ("finding", "experiment", "kind", "state", "retest_due", "text")
        print_rows(rows, columns=columns, output=output, empty="No run has shown a weakness yet.")
        if any(row["state"] == "overdue" for row in rows):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def mend(
        self,
        number: FindingNumber,
        how: Annotated[str, typer.Option(help="What was done.")],
        as_user: As = "",
    ) -> None:
        """Say that a finding is mended; a retest is due from then on. Exit code 1: it was not open."""
        finding = _finding(number, principal := _principal(as_user))
        if not mend_finding(principal=principal, finding=finding, how=how):
            fail("The finding is not open.", ExitCode.NO)
        finding.refresh_from_db()
        typer.echo(f"retest due until {finding.retest_due_at:%Y-%m-%d %H:%M %Z}")

    @command()
    @answering
    def waive(
        self,
        number: FindingNumber,
        reason: Annotated[str, typer.Option(help="Why no run needs to show that it is mended; kept in the ledger.")],
        as_user: As = "",
    ) -> None:
        """Close a finding without a retest. Exit code 1: it was closed already."""
        finding = _finding(number, principal := _principal(as_user))
        if not waive_retest(principal=principal, finding=finding, reason=reason):
            fail("The finding is closed already.", ExitCode.NO)

    @command()
    @answering
    def export(self, name: Annotated[str, typer.Argument(help="An experiment, or a run.")]) -> None:
        """Print an experiment, or a run as it was compiled, as the Chaos Toolkit reads it."""
        experiment = experiment_by_slug(slug=name)
        print_json(export_experiment(experiment) if experiment is not None else compile_experiment(_run(name)))

    @command(name="import")
    @answering
    def import_file(  # noqa: PLR0917 each is an option with a name
        self,
        path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON or YAML of the Chaos Toolkit.")],
        name: Annotated[str, typer.Option(help="What the experiment is called here.")] = "",
        environment: Annotated[str, typer.Option(help="Its environment.")] = "",
        service: Annotated[list[str] | None, typer.Option(help="A service that it is about; repeat it.")] = None,
        slo: Annotated[list[str] | None, typer.Option(help="An SLO of its steady state; repeat it.")] = None,
        max_targets: Annotated[int, typer.Option(min=1, max=50)] = 1,
        as_user: As = "",
    ) -> None:
        """Translate an experiment of the Chaos Toolkit; everything in it is held against an allow-list first."""
        missing = Missing(
            name=name, environment=environment, services=service or [], slos=slo or [], max_targets=max_targets
        )
        made = import_experiment(
            principal=_principal(as_user), raw=path.read_bytes(), source=path.name, missing=missing
        )
        typer.echo(f"imported: {made}")


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


def _finding(number: int, viewer: Principal) -> ChaosFinding:
    finding = findings_visible(viewer=viewer).filter(pk=number).first()
    if finding is None:
        fail(f"There is no finding {number}. See manage.py chaos findings.")
    return finding


def _finished(reference: str) -> ChaosRun:
    while True:
        run = _run(reference)
        if run.state == RunState.FINISHED:
            return run
        time.sleep(LOOK_EVERY_SECONDS)
