"""`manage.py slo`: service level objectives."""

from pathlib import Path
from typing import Annotated, Any

import typer
from django_typer.management import command

from accounts.data import Capability
from accounts.services import ensure_may
from core.cli import ExitCode, FormatOption, OutputFormat, answering, fail, print_json, print_rows
from core.clock import database_now
from core.parsing import load_yaml_documents
from reliability.data import BudgetState
from reliability.domain.alerting import BurnTier
from reliability.management.asking import AsOption, definition_for, find_slo, instant, principal_for
from reliability.management.foresight_commands import ForesightCommands
from reliability.selectors import backtest as find_firings
from reliability.selectors import (
    budget_statuses,
    detailed_statuses,
    documents_as_yaml,
    export_documents,
    result_as_json,
    slos_visible,
    status_as_json,
    version_in_force,
)
from reliability.services import apply_documents, written_tiers

EMPTY = "No SLO yet. Apply a file: manage.py slo apply slos.yaml"


class Command(ForesightCommands):
    help = "Service level objectives: what is promised, how much may still go wrong."

    @command(name="list")
    @answering
    def list_slos(self, acting: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Print all SLOs with how they stand."""
        slos = list(slos_visible(viewer=principal_for(acting)))
        statuses = budget_statuses(slos)
        rows = []
        for slo in slos:
            status = statuses.get(slo.pk)
            left = status.remaining if status else None
            rows.append(
                {
                    "name": slo.slug,
                    "service": slo.service.slug,
                    "state": status.state.value if status else BudgetState.UNKNOWN.value,
                    "target": str(status.target.normalize()) if status else None,
                    "sli": _interval(status.sli) if status else None,
                    "budget_left": _interval(left),
                    "burn_1h": _interval(status.burn_1h) if status else None,
                }
            )
        columns = ("name", "service", "state", "target", "sli", "budget_left", "burn_1h")
        print_rows(rows, columns=columns, output=output, empty=EMPTY)

    @command()
    @answering
    def show(self, name: str, acting: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the definition in force."""
        slo = find_slo(name, principal_for(acting))
        version = version_in_force(slo=slo)
        if version is None:
            fail(f"{name} has no definition in force.", ExitCode.NO)
        shown = {
            "name": slo.slug,
            "version": version.number,
            "effective_from": version.effective_from.isoformat(),
            "counted_from": version.counted_from.isoformat(),
            "source": version.data_source.slug if version.data_source else version.source_type,
            "target": str(version.target.normalize()),
            "window_days": version.window_days,
            "indicator": version.indicator,
            "tiers": version.tiers,
            "definition": version.definition,
        }
        if output is OutputFormat.JSON:
            print_json(shown)
        else:
            for key, value in shown.items():
                typer.echo(f"{key}: {value}")

    @command()
    @answering
    def status(
        self,
        names: Annotated[list[str] | None, typer.Argument(help="SLOs; all without.")] = None,
        at: Annotated[str, typer.Option(help="As counted up to this instant, in ISO 8601; UTC without a zone.")] = "",
        known_at: Annotated[str, typer.Option(help="With the exclusions that were approved at this instant.")] = "",
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print figures by objective, window and group.

        Exit code 1: a budget is spent or an alert fires; 3: something is not measured.
        """
        principal = principal_for(acting)
        slos = [find_slo(name, principal) for name in names] if names else list(slos_visible(viewer=principal))
        now = instant(at, "--at") if at else database_now()
        statuses = detailed_statuses(slos, now=now, known_at=instant(known_at, "--known-at") if known_at else None)
        rows: list[dict[str, Any]] = [status_as_json(status) for status in statuses]
        columns = ("name", "objective", "window", "state", "target", "good", "bad", "unknown", "sli_low", "sli_high")
        print_rows(rows, columns=(*columns, "coverage", "firing"), output=output, empty=EMPTY)
        if any(status.firing or status.state is BudgetState.BREACHED for status in statuses):
            raise typer.Exit(ExitCode.NO)
        if not rows or any(status.state is BudgetState.UNKNOWN for status in statuses):
            raise typer.Exit(ExitCode.UNKNOWN)

    @command()
    @answering
    def apply(
        self,
        paths: Annotated[list[Path], typer.Argument(exists=True, help="OpenSLO files, or folders of them.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
        prune: Annotated[bool, typer.Option("--prune", help="Retire what the files do not name.")] = False,
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Create or update what the files say, all or nothing."""
        files = [file for path in paths for file in (sorted(path.rglob("*.y*ml")) if path.is_dir() else [path])]
        documents = [
            document for file in files for document in load_yaml_documents(file.read_bytes(), source=file.name)
        ]
        source = files[0].name if len(files) == 1 else "slo apply"
        applied = apply_documents(
            principal=principal_for(acting), documents=documents, source=source, dry_run=dry_run, prune=prune
        )
        if output is OutputFormat.JSON:
            print_json(applied)
        else:
            for difference in applied.pop("diff", []):
                typer.echo(f"{difference}\n")
            for warning in applied.pop("warnings"):
                typer.echo(f"warning: {warning}", err=True)
            for word, changed in applied.items():
                typer.echo(f"{word}: {', '.join(changed) or '—'}")

    @command()
    @answering
    def export(
        self,
        names: Annotated[list[str] | None, typer.Argument(help="SLOs, with what they refer to; all without.")] = None,
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print what is in force as OpenSLO v1 that applies to the same. Secrets are masked."""
        principal = principal_for(acting)
        ensure_may(principal, Capability.OPERATIONS_VIEW)
        for name in names or []:
            find_slo(name, principal)
        documents = export_documents(names=names or [])
        if output is OutputFormat.JSON:
            print_json(documents)
        else:
            typer.echo(documents_as_yaml(documents), nl=False)

    @command()
    @answering
    def backtest(
        self,
        name: str,
        *,
        since: Annotated[str, typer.Option(help="From this instant on; else the SLO's window.")] = "",
        until: Annotated[str, typer.Option(help="Up to this instant; else now.")] = "",
        tiers: Annotated[str, typer.Option(help="Tiers as in assay.dev/burn-tiers; else those in force.")] = "",
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say what alert tiers would have done on the stored history: when, how long, precision against incidents."""
        version = definition_for(name, acting)
        end = instant(until, "--until") if until else database_now()
        start = instant(since, "--since") if since else end - version.window.length
        asked = (
            written_tiers(tiers, version.target, version.window.length, "--tiers")
            if tiers
            else [BurnTier(**values) for values in version.tiers]
        )
        results = [result_as_json(one) for one in find_firings(version=version, tiers=asked, since=start, until=end)]
        if output is OutputFormat.JSON:
            print_json({"name": name, "since": start.isoformat(), "until": end.isoformat(), "tiers": results})
            return
        columns = ("tier", "severity", "fired", "minutes_firing", "incidents", "precision", "recall")
        print_rows(results, columns=columns, output=output, empty=f"{name} has no alert tier.")


def _interval(figure: Any) -> str | None:
    if figure is None:
        return None
    return f"{figure.low:.4f}" if figure.exact else f"{figure.low:.4f}..{figure.high:.4f}"
