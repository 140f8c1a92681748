"""`manage.py slo`: exclusions, the gate and what lets something pass it."""

from datetime import timedelta
from typing import Annotated

import typer
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.clock import database_now
from reliability.management.asking import AsOption, find_service, find_slo, instant, principal_for
from reliability.models import Exclusion
from reliability.selectors import (
    GATED_ACTIONS,
    GateAnswer,
    exclusion_as_json,
    exclusions_visible,
    gate,
    version_in_force,
)
from reliability.selectors.history import spenders
from reliability.services import (
    Stretch,
    approve_exclusion,
    grant_override,
    reject_exclusion,
    request_exclusion,
    withdraw_exclusion,
)

DECISIONS = {"approve": approve_exclusion, "reject": reject_exclusion, "withdraw": withdraw_exclusion}
GATE_CODES = {
    GateAnswer.ALLOW: ExitCode.GOOD,
    GateAnswer.DENY: ExitCode.NO,
    GateAnswer.CANNOT_TELL: ExitCode.UNKNOWN,
}


class PolicyCommands(RoomCommand):
    """The commands on exclusions and the gate."""

    @command(name="gate")
    @answering
    def ask_gate(
        self,
        service: Annotated[str, typer.Option(help="Slug of the service that is to change.")],
        action: Annotated[str, typer.Option(help="What is to be done: deploy or chaos.")] = "deploy",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say whether a service's error budgets allow a risk. Exit code 0: allowed; 1: denied; 3: cannot tell."""
        if action not in GATED_ACTIONS:
            fail(f"--action: found {action!r}; {' or '.join(GATED_ACTIONS)} is allowed.")
        result = gate(service=find_service(service), action=action)
        if output is OutputFormat.JSON:
            print_json(result.as_json())
        else:
            typer.echo(result.answer.value)
            for reason in result.reasons:
                typer.echo(f"  {reason.slo}: {reason.why} ({reason.policy}, {reason.state})")
            if not result.reasons:
                typer.echo("  no SLO")
            if result.override is not None:
                typer.echo(f"  {result.override} by {result.override.granted_by}: {result.override.reason}")
        raise typer.Exit(GATE_CODES[result.answer])

    @command()
    @answering
    def override(
        self,
        service: Annotated[str, typer.Option(help="Slug of the service.")],
        reason: Annotated[str, typer.Option(help="Why it must pass all the same.")],
        *,
        action: Annotated[str, typer.Option(help="deploy or chaos.")] = "deploy",
        hours: Annotated[float, typer.Option(help="For how long, at most 168.")] = 4.0,
        acting: AsOption = "",
    ) -> None:
        """Let an action pass the gate for a while: signed, recorded, for approvers."""
        granted = grant_override(
            principal=principal_for(acting),
            service=find_service(service),
            action=action,
            reason=reason,
            length=timedelta(hours=hours),
        )
        typer.echo(f"{granted}: {action} of {service} passes until {granted.expires_at.isoformat()}")

    @command()
    @answering
    def exclude(
        self,
        name: Annotated[str, typer.Argument(help="An SLO; leave out with --service.")] = "",
        *,
        starts: Annotated[str, typer.Option("--from", help="First instant, in ISO 8601.")],
        ends: Annotated[str, typer.Option("--to", help="Last instant.")],
        reason: Annotated[str, typer.Option(help="Why this time does not count.")],
        service: Annotated[str, typer.Option(help="All SLOs of a service.")] = "",
        recurrence: Annotated[str, typer.Option("--rrule", help="Again and again, as FREQ=WEEKLY;BYDAY=SU.")] = "",
        zone: Annotated[str, typer.Option(help="IANA zone of a recurring one.")] = "UTC",
        replaces: Annotated[str, typer.Option(help="The approved exclusion that this one replaces.")] = "",
        acting: AsOption = "",
    ) -> None:
        """Ask that time does not count; another person approves it with `slo exclusion EX-1 approve --as …`."""
        principal = principal_for(acting)
        exclusion = request_exclusion(
            principal=principal,
            stretch=Stretch(instant(starts, "--from"), instant(ends, "--to"), recurrence, zone),
            reason=reason,
            slo=find_slo(name, principal) if name else None,
            service=find_service(service) if service else None,
            replaces=_find_exclusion(replaces, acting) if replaces else None,
        )
        typer.echo(f"{exclusion}: asked for {exclusion.subject}; it counts once another person approves it")

    @command()
    @answering
    def exclusion(
        self,
        reference: str,
        decision: Annotated[str, typer.Argument(help="approve, reject or withdraw.")],
        acting: AsOption = "",
    ) -> None:
        """Decide on an exclusion."""
        if decision not in DECISIONS:
            fail(f"found {decision!r}; {', '.join(DECISIONS)} is allowed.")
        exclusion = _find_exclusion(reference, acting)
        DECISIONS[decision](principal=principal_for(acting), exclusion=exclusion)
        typer.echo(f"{exclusion}: {exclusion.state}")

    @command()
    @answering
    def exclusions(self, acting: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Print every exclusion."""
        rows = [exclusion_as_json(one) for one in exclusions_visible(viewer=principal_for(acting))]
        columns = ("reference", "state", "slo", "service", "from", "to", "recurrence", "requested_by", "decided_by")
        print_rows(rows, columns=columns, output=output, empty="Nothing is excluded.")

    @command()
    @answering
    def attribution(self, name: str, acting: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Say what the window's bad events were spent during; the lines add up to all of them."""
        slo = find_slo(name, principal_for(acting))
        version = version_in_force(slo=slo)
        if version is None:
            fail(f"{name} has no definition in force.", ExitCode.NO)
        rows = [vars(one) for one in spenders(version=version, slo=slo, now=database_now())]
        columns = ("title", "kind", "bad", "share")
        print_rows(rows, columns=columns, output=output, empty="No bad event in the window.")


def _find_exclusion(reference: str, acting: str) -> Exclusion:
    found = exclusions_visible(viewer=principal_for(acting)).filter(reference=reference).first()
    if found is None:
        fail(f"There is no exclusion {reference!r} that you may see.")
    return found
