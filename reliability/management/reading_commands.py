"""The part of `manage.py slo` that reads sources."""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, answering, print_rows
from core.clock import database_now
from reliability.management.asking import AsOption, find_slo, instant, principal_for
from reliability.management.policy_commands import PolicyCommands
from reliability.models import SLO
from reliability.selectors import data_statuses, slos_visible, version_in_force, versions_in_force
from reliability.services import refresh as refresh_tallies
from reliability.services import request_backfill, run_backfills

EMPTY = "No SLO yet. Apply a file: manage.py slo apply slos.yaml"


class ReadingCommands(PolicyCommands):
    """`refresh` and `backfill`."""

    @command()
    @answering
    def refresh(
        self,
        names: Annotated[list[str] | None, typer.Argument(help="SLOs; all without.")] = None,
        until: Annotated[str, typer.Option(help="Read up to this instant, in ISO 8601; UTC without a zone.")] = "",
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Read the sources now, until all is counted. May be run again. Exit code 1: a source cannot be read."""
        slos = _chosen(names, acting)
        now = database_now()
        upto = min(instant(until, "--until"), now) if until else now
        failed = refresh_tallies(
            versions=versions_in_force(slos=_with_parts(slos)), until=upto, say=_progress("refresh"), sleep=time.sleep
        )
        rows = [{"name": slo.slug, "until": upto.isoformat(), "error": failed.get(slo.slug, "")} for slo in slos]
        print_rows(rows, columns=("name", "until", "error"), output=output, empty=EMPTY)
        if failed:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def backfill(
        self,
        names: Annotated[list[str], typer.Argument(help="SLOs.")],
        since: Annotated[str, typer.Option(help="Count from this instant on, in ISO 8601; UTC without a zone.")],
        until: Annotated[str, typer.Option(help="Up to this instant; else to where counting began.")] = "",
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Count a source's history, until done. What is counted already is not read again; it may be run again."""
        slos = _chosen(names, acting)
        begin, end = instant(since, "--since"), instant(until, "--until") if until else None
        principal = principal_for(acting)
        versions = versions_in_force(slos=_with_parts(slos))
        found = [request_backfill(principal=principal, version=one, since=begin, until=end) for one in versions]
        problems = run_backfills([row for row in found if row is not None], say=_progress("backfill"), sleep=time.sleep)
        in_force = {slo.slug: version for slo in slos if (version := version_in_force(slo=slo)) is not None}
        statuses = data_statuses(in_force.values())
        rows = [
            {
                "name": slug,
                "counted_from": version.counted_from.isoformat(),
                "state": statuses[version.pk].state.value,
                "error": "; ".join(problem for problem in problems if problem.startswith(f"{slug}:")),
            }
            for slug, version in in_force.items()
        ]
        print_rows(rows, columns=("name", "counted_from", "state", "error"), output=output, empty=EMPTY)
        if problems:
            raise typer.Exit(ExitCode.NO)


def _chosen(names: list[str] | None, acting: str) -> list[SLO]:
    principal = principal_for(acting)
    return [find_slo(name, principal) for name in names] if names else list(slos_visible(viewer=principal))


def _with_parts(slos: list[SLO]) -> list[SLO]:
    return [*slos, *SLO.objects.filter(part_of__in=[slo.pk for slo in slos])]


def _progress(word: str) -> Callable[[float], None]:
    """Say on standard error how far something is, a line for each further percent."""
    last = [-1]

    def say(ratio: float) -> None:
        percent = int(min(max(ratio, 0.0), 1.0) * 100)
        if percent != last[0]:
            last[0] = percent
            typer.echo(f"{word}: {percent} %", err=True)

    return say
