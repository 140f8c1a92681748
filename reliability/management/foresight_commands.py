"""`manage.py slo`: what if, forecast, packs, delivery measures."""

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, answering, fail, print_json, print_rows
from core.clock import database_now
from core.parsing import load_yaml_documents
from reliability.domain.periods import period as period_of
from reliability.management.asking import AsOption, definition_for, find_service, find_slo, instant, principal_for
from reliability.management.reading_commands import ReadingCommands
from reliability.selectors import budget_forecast, forecast_as_json, slos_visible, what_if
from reliability.selectors.capacity import capacities
from reliability.selectors.delivery_measures import delivery_measures, measures_as_json
from reliability.selectors.findings import findings_of
from reliability.selectors.packs import packs
from reliability.selectors.reports import level_report
from reliability.selectors.spreads import kept_edges
from reliability.services import (
    apply_documents,
    report_html,
    report_pdf,
    standard_tiers,
    written_tiers,
    written_window,
)


class ForesightCommands(ReadingCommands):
    """The commands that reckon with what is stored."""

    @command()
    @answering
    def whatif(
        self,
        name: str,
        *,
        target: Annotated[str, typer.Option(help="Another target, as 0.999; else the SLO's own.")] = "",
        window: Annotated[str, typer.Option(help="Another rolling window, as 7d; else the SLO's own.")] = "",
        tiers: Annotated[str, typer.Option(help="Alert tiers, as in assay.dev/burn-tiers; else the usual ones.")] = "",
        le: Annotated[float | None, typer.Option(help="Another latency bound, where buckets are kept.")] = None,
        since: Annotated[str, typer.Option(help="From this instant on; else all that is stored.")] = "",
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say how another target or window would have fared over the stored history, month by month."""
        version = definition_for(name, acting)
        try:
            wanted = Decimal(target) if target else version.all_objectives[0].target
        except InvalidOperation:
            fail(f"--target: found {target!r}; a number between 0 and 1 is allowed.")
        if not 0 < wanted < 1:
            fail(f"--target: found {target!r}; a number between 0 and 1 is allowed.")
        length = written_window(window, "--window") if window else version.window
        asked = (
            written_tiers(tiers, wanted, length.length, "--tiers") if tiers else standard_tiers(wanted, length.length)
        )
        if le is not None and le not in (edges := kept_edges(version=version)):
            allowed = (
                f"one of {', '.join(f'{edge:g}' for edge in edges)} is allowed" if edges else "no buckets are kept"
            )
            fail(f"--le: found {le:g}; {allowed}. Buckets are kept with the annotation assay.dev/keep-buckets.")
        found = what_if(
            version=version,
            target=wanted,
            window=length,
            tiers=asked,
            since=instant(since, "--since") if since else None,
            now=database_now(),
            le=le,
        ).as_json()
        if output is OutputFormat.JSON:
            print_json({"name": name, **found})
            return
        for key, value in found.items():
            if key != "months":
                typer.echo(f"{key}: {value}")
        columns = ("month", "good", "bad", "unknown", "sli_low", "sli_high", "kept")
        print_rows(found["months"], columns=columns, output=output, empty="Nothing is stored.")

    @command()
    @answering
    def forecast(self, name: str, acting: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Say when the budget will be spent if days go on like those seen: earliest, likely, latest."""
        now = database_now()
        found = forecast_as_json(budget_forecast(version=definition_for(name, acting), now=now), now=now)
        if output is OutputFormat.JSON:
            print_json({"name": name, "forecast": found})
        elif found is None:
            typer.echo("There is no day of events to judge by.")
        else:
            for key, value in found.items():
                typer.echo(f"{key}: {value if value is not None else 'not within the window'}")

    @command()
    @answering
    def pack(
        self,
        name: Annotated[str, typer.Argument(help="The pack; without, all are listed.")] = "",
        *,
        values: Annotated[list[str] | None, typer.Option("--set", help="A parameter, as service=gateway.")] = None,
        apply: Annotated[bool, typer.Option("--apply", help="Apply it; else it is printed.")] = False,
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """List SLO packs, print one filled in, or apply it."""
        known = packs()
        if not name:
            rows = [
                {"name": one.name, "title": one.title, "parameters": ", ".join(one.parameters)}
                for one in known.values()
            ]
            print_rows(rows, columns=("name", "title", "parameters"), output=output, empty="There is no pack.")
            return
        if name not in known:
            fail(f"There is no pack {name!r}; {', '.join(known)} is allowed.")
        try:
            text = known[name].filled(dict(value.split("=", 1) for value in values or []))
        except ValueError as error:
            fail(f"--set: {error}")
        if not apply:
            typer.echo(text)
            return
        documents = load_yaml_documents(text, source=f"{name}.yaml")
        outcome = apply_documents(principal=principal_for(acting), documents=documents, source=f"{name}.yaml")
        print_rows(
            [{"what": word, "names": ", ".join(names)} for word, names in outcome.items() if names],
            columns=("what", "names"),
            output=output,
            empty="Nothing changed.",
        )

    @command()
    @answering
    def capacity(
        self,
        names: Annotated[list[str] | None, typer.Argument(help="SLOs on gauges; all without.")] = None,
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say when what gauges measure reaches its limit: earliest, likely, latest, in days."""
        principal = principal_for(acting)
        slos = [find_slo(name, principal) for name in names] if names else list(slos_visible(viewer=principal))
        rows = [one.as_json() for one in capacities(slos=slos, now=database_now())]
        columns = ("name", "judged_by", "limit", "last_day", "change_per_week", "days_to_limit", "days_seen")
        print_rows(rows, columns=columns, output=output, empty="No SLO is on a gauge (thresholdMetric).")

    @command()
    @answering
    def findings(
        self,
        names: Annotated[list[str] | None, typer.Argument(help="SLOs; all without.")] = None,
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say which SLOs' numbers are doubtful, and why. Exit code 1: some are."""
        principal = principal_for(acting)
        slos = [find_slo(name, principal) for name in names] if names else list(slos_visible(viewer=principal))
        found = findings_of(slos=slos, now=database_now())
        rows = [
            {"name": slo.slug, "finding": one.kind.value, "serious": one.serious, "says": one.says}
            for slo in slos
            for one in found.get(slo.pk, ())
        ]
        print_rows(rows, columns=("name", "finding", "serious", "says"), output=output, empty="Nothing is doubtful.")
        if any(row["serious"] for row in rows):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def report(
        self,
        service: Annotated[str, typer.Argument(help="Slug of the service.")],
        period: Annotated[str, typer.Argument(help="A month or quarter in UTC: 2026-03 or 2026-Q1.")],
        *,
        html: Annotated[Path | None, typer.Option(help="Write the report as HTML to this file.")] = None,
        pdf: Annotated[Path | None, typer.Option(help="Write the report as PDF to this file.")] = None,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say what a service kept of its promises in a month or quarter. Exit code 1: a promise was broken."""
        now = database_now()
        wanted = period_of(period)
        if wanted is None or wanted.start > now:
            fail(f"PERIOD: found {period!r}; a month as 2026-03 or a quarter as 2026-Q1 that has begun is allowed.")
        found = level_report(service=find_service(service), period=wanted, now=now)
        if html is not None:
            html.write_text(report_html(found))
        if pdf is not None:
            pdf.write_bytes(report_pdf(report_html(found)))
        rows = [line.as_json() for line in found.lines]
        columns = ("slo", "objective", "target", "good", "bad", "unknown", "sli_low", "sli_high", "verdict")
        print_rows(rows, columns=columns, output=output, empty=f"{service} promised nothing in {wanted.title}.")
        if any(line.kept is False for line in found.lines):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def dora(
        self,
        service: Annotated[str, typer.Option(help="One service; else all that you may see.")] = "",
        *,
        days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 90,
        acting: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print deployment frequency, lead time, change failure rate and time to restore."""
        until = database_now()
        found = delivery_measures(
            viewer=principal_for(acting),
            since=until - timedelta(days=days),
            until=until,
            service_id=find_service(service).pk if service else None,
        )
        shown = {"service": service, "days": days, **measures_as_json(found)}
        if output is OutputFormat.JSON:
            print_json(shown)
        else:
            for key, value in shown.items():
                typer.echo(f"{key}: {value if value is not None else 'not known'}")
