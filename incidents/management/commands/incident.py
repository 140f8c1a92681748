"""`manage.py incident`: incidents, integrations, who is on call, configuration from YAML."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from django_typer.management import command, group

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from catalog.selectors import services_by_slugs
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.formatting import written_duration
from core.parsing import load_yaml_documents, refuse
from delivery.selectors import deliveries
from incidents.data import IncidentStatus, IntegrationKind, Severity
from incidents.domain.durations import parse_duration
from incidents.models import EscalationPolicy, Incident
from incidents.selectors import (
    Chapter,
    alerts_visible,
    explain_alert,
    explain_incident,
    inbound_event_by_reference,
    incident_by_reference,
    incidents_visible,
    on_call_now,
    schedule_by_slug,
    timeline_of,
)
from incidents.selectors.analytics import MEASURES, Cut, analytics
from incidents.selectors.inbound import integrations
from incidents.services import (
    NewToken,
    Opening,
    acknowledge_incident,
    add_integration,
    apply_documents,
    open_incident,
    preview_documents,
    replay_since,
    resolve_incident,
    rotate_integration_token,
)

AsOption = Annotated[str, typer.Option("--as", help="User name of the person who acts.")]


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        raise refuse("--as", found=username, allowed="the user name of a person is allowed")
    return principal_for_user(user=user)


def _incident(reference: str) -> Incident:
    incident = incident_by_reference(reference=reference)
    if incident is None:
        fail(f"There is no incident {reference}.")
    return incident


def _row(incident: Incident) -> dict[str, Any]:
    return {
        "reference": incident.reference,
        "status": incident.status,
        "severity": incident.severity,
        "title": incident.title,
        "services": ", ".join(service.slug for service in incident.services.all()),
        "triggered_at": incident.triggered_at.isoformat(timespec="seconds"),
        "acknowledged_by": str(incident.acknowledged_by or ""),
        "caused_by": incident.caused_by,
    }


COLUMNS = ("reference", "status", "severity", "title", "services", "triggered_at", "acknowledged_by")


class Command(RoomCommand):
    help = "Alerts, incidents and who is on call."

    @command(name="list")
    @answering
    def list_incidents(
        self,
        everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print open incidents, newest first. Exit code 1 when any is open."""
        found = incidents_visible(viewer=system_principal("cli")).prefetch_related("services")
        if not everything:
            found = found.exclude(status=IncidentStatus.RESOLVED)
        rows = list(found[:limit])
        print_rows([_row(one) for one in rows], columns=COLUMNS, output=output, empty="No incident is open.")
        if any(one.is_open for one in rows):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def show(self, reference: str, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print an incident with its timeline."""
        incident = _incident(reference)
        entries = [
            {
                "at": entry.at.isoformat(timespec="seconds"),
                "kind": entry.kind,
                "who": entry.actor_label,
                "text": entry.text,
            }
            for entry in timeline_of(incident=incident)
        ]
        if output is OutputFormat.JSON:
            print_json({**_row(incident), "timeline": entries})
            return
        print_rows([_row(incident)], columns=COLUMNS, output=output, empty="")
        print_rows(entries, columns=("at", "kind", "who", "text"), output=output, empty="Its timeline is empty.")

    @command(name="open")
    @answering
    def open_one(  # noqa: PLR0917 options are named where they are called
        self,
        title: str,
        severity: Annotated[Severity, typer.Option()] = Severity.SEV3,
        service: Annotated[list[str] | None, typer.Option(help="Slug of a service that suffers.")] = None,
        policy: Annotated[str, typer.Option(help="Escalation policy: whom to page.")] = "",
        who: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Open an incident."""
        slugs = service or []
        services = list(services_by_slugs(slugs))
        if missing := sorted(set(slugs) - {one.slug for one in services}):
            raise refuse("--service", found=missing[0], allowed="services of the catalogue are allowed")
        known = EscalationPolicy.objects.filter(slug=policy).first()
        if policy and known is None:
            raise refuse("--policy", found=policy, allowed="an escalation policy that exists is allowed")
        incident = open_incident(
            principal=_principal(who),
            opening=Opening(
                title=title,
                severity=severity,
                service_ids=tuple(one.pk for one in services),
                service_slugs=tuple(one.slug for one in services),
                team_id=services[0].team_id if services else None,
                policy=known,
            ),
        )
        _say(incident, output)

    @command()
    @answering
    def ack(self, reference: str, who: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Acknowledge an incident as a person."""
        _say(acknowledge_incident(principal=_principal(who), incident=_incident(reference), via="command"), output)

    @command()
    @answering
    def resolve(
        self,
        reference: str,
        reason: Annotated[str, typer.Option(help="What ended it.")] = "",
        who: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """End an incident."""
        _say(resolve_incident(principal=_principal(who), incident=_incident(reference), reason=reason), output)

    @command()
    @answering
    def oncall(
        self,
        schedule: Annotated[str, typer.Argument(help="A schedule; without one, all.")] = "",
        at: Annotated[str, typer.Option(help="ISO 8601 instant; without one, now.")] = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print who is on call, until when and why. Exit code 1 when nobody is."""
        if schedule and schedule_by_slug(slug=schedule) is None:
            raise refuse("schedule", found=schedule, allowed="a schedule that exists is allowed")
        found = on_call_now(schedule_slug=schedule, at=_instant(at) if at else None)
        print_rows(
            [
                {
                    "schedule": one.schedule,
                    "username": one.username,
                    "name": one.name,
                    "until": one.until.isoformat(timespec="seconds") if one.until else "",
                    "why": one.why,
                }
                for one in found
            ],
            columns=("schedule", "name", "until", "why"),
            output=output,
            empty="Nobody is on call.",
        )
        if not found:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def explain(self, thing: str, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print why somebody was or was not paged: by an incident (INC-3), an alert (12), an inbound event (inb_…)."""
        chapters = _chapters(thing)
        if output is OutputFormat.JSON:
            print_json([asdict(chapter) for chapter in chapters])
            return
        for chapter in chapters:
            typer.echo(chapter.title)
            for step in chapter.steps:
                typer.echo(f"  {step}")

    @command(name="deliveries")
    @answering
    def list_deliveries(
        self,
        failed: Annotated[bool, typer.Option("--failed", help="Only those given up, or failing now.")] = False,
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print what was sent about incidents, newest first. Exit code 1 when some of it has failed."""
        viewer = system_principal("cli")
        found = deliveries(viewer=viewer).filter(about__startswith="incident:").order_by("-pk")
        if failed:
            found = found.exclude(last_error="")
        rows = list(found[:limit])
        print_rows(
            [
                {
                    "reference": row.reference,
                    "about": row.about.partition(":")[2],
                    "channel": row.channel,
                    "address": row.address,
                    "state": row.state,
                    "tries": row.tries,
                    "created_at": row.created_at.isoformat(timespec="seconds"),
                    "error": row.last_error,
                }
                for row in rows
            ],
            columns=("reference", "about", "channel", "address", "state", "tries", "created_at", "error"),
            output=output,
            empty="Nothing has been sent." if not failed else "Nothing has failed.",
        )
        if any(row.last_error for row in rows):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def preview(
        self,
        paths: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
        days: Annotated[int, typer.Option(min=1, max=90)] = 7,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print what a draft would have done with the alerts of the last days. Exit code 1 when anything differs."""
        documents = [one for path in paths for one in load_yaml_documents(path.read_bytes(), source=path.name)]
        found = preview_documents(principal=system_principal("cli"), documents=documents, days=days)
        rows = [
            {"alert": row.alert.pk, "title": row.alert.title, "live": row.live.text, "draft": row.draft.text}
            for row in found.changed
        ]
        print_rows(rows, columns=("alert", "title", "live", "draft"), output=output, empty="Nothing differs.")
        if rows:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def apply(
        self,
        paths: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Apply integrations, schedules, escalation policies and routes from YAML, all or nothing."""
        documents = []
        sources = []
        for path in paths:
            loaded = load_yaml_documents(path.read_bytes(), source=path.name)
            documents += loaded
            sources += [path.name] * len(loaded)
        applied = apply_documents(principal=system_principal("cli"), documents=documents, sources=sources)
        tokens = [_token(new) for new in applied.new_tokens.values()]
        if output is OutputFormat.JSON:
            print_json({"applied": applied.names, "integrations": tokens})
            return
        typer.echo(f"Applied {', '.join(applied.names) or 'nothing'}")
        for one in tokens:
            typer.echo(f"{one['integration']}: {one['url']}  (shown this once)")

    @command(name="analytics")
    @answering
    def print_analytics(
        self,
        by: Annotated[Cut, typer.Option(help="By what incidents are counted apart.")] = Cut.SERVICE,
        days: Annotated[int, typer.Option(min=1, max=800)] = 90,
        service: Annotated[str, typer.Option(help="Only this service.")] = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print medians and 90th percentiles of what incidents took."""
        until = datetime.now(UTC)
        found = analytics(
            viewer=system_principal("cli"), since=until - timedelta(days=days), until=until, by=by, service=service
        )
        rows = []
        for part in (*found.parts, found.whole):
            row: dict[str, Any] = {by.value: part.label, "incidents": part.count}
            for name in MEASURES:
                one = part.measures[name]
                if output is OutputFormat.JSON:
                    row |= {f"{name}_n": one.n, f"{name}_seconds": [_seconds(one.median), _seconds(one.p90)]}
                else:
                    row[name] = f"{written_duration(one.median)} / {written_duration(one.p90)} (n {one.n})"
            rows.append(row)
        print_rows(rows, columns=(by.value, "incidents", *MEASURES), output=output, empty="")

    @group()
    def integration(self) -> None:
        """Look after the senders of alerts."""

    @integration.command(name="add")
    @answering
    def integration_add(
        self,
        name: str,
        kind: Annotated[IntegrationKind, typer.Option()],
        signed: Annotated[bool, typer.Option(help="Ask for a signature (Grafana).")] = False,
        every: Annotated[str, typer.Option(help="How often a heartbeat beats, as 5m.")] = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Add a sender of alerts and print its address, which is shown this once."""
        try:
            beat = parse_duration(every) if every else None
        except ValueError as error:
            raise refuse("--every", found=every, allowed=str(error)) from None
        new = add_integration(
            principal=system_principal("cli"), slug=name, kind=kind, signed=signed, heartbeat_every=beat
        )
        _say_token(new, output)

    @integration.command(name="rotate")
    @answering
    def integration_rotate(self, name: str, output: FormatOption = OutputFormat.TEXT) -> None:
        """Give a sender a new token; the old one is good for a day more."""
        found = integrations().filter(slug=name).first()
        if found is None:
            raise refuse("integration", found=name, allowed="an integration that exists is allowed")
        _say_token(rotate_integration_token(principal=system_principal("cli"), integration=found), output)

    @command(name="replay")
    @answering
    def replay_events(
        self,
        integration: str,
        since: Annotated[str, typer.Option(help="ISO 8601 instant.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Process stored events of an integration again; what they already caused is not caused twice."""
        principal = system_principal("cli")
        sender = integrations().filter(slug=integration).first()
        if sender is None:
            raise refuse("integration", found=integration, allowed="an integration that exists is allowed")
        found = replay_since(principal=principal, integration=sender, since=_instant(since))
        if output is OutputFormat.JSON:
            print_json({"replayed": found})
        else:
            typer.echo(f"{len(found)} events are being processed again")


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()


def _chapters(thing: str) -> list[Chapter]:
    if thing.upper().startswith("INC-"):
        return explain_incident(incident=_incident(thing))
    viewer = system_principal("cli")
    alerts = alerts_visible(viewer=viewer)
    if thing.startswith("inb_"):
        event = inbound_event_by_reference(viewer=viewer, reference=thing)
        if event is None:
            fail(f"There is no inbound event {thing}.")
        words = [f"{one['title']}: {one['decision']}" for one in event.decisions] or [event.problem or event.state]
        chapters = [Chapter(f"Event {event.reference} from {event.integration}: {event.state}", tuple(words))]
        keys = [one["alert"] for one in event.decisions if one.get("alert")]
        return chapters + [one for alert in alerts.filter(pk__in=keys) for one in explain_alert(alert=alert)]
    number = thing.removeprefix("alert:")
    alert = alerts.filter(pk=int(number)).first() if number.isdecimal() else None
    if alert is None:
        fail(f"There is no incident, alert or inbound event {thing}.")
    return explain_alert(alert=alert)


def _say(incident: Incident, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(_row(incident))
    else:
        typer.echo(f"{incident.reference} is {incident.status}: {incident.title}")


def _say_token(new: NewToken, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(_token(new))
        return
    typer.echo(f"{_token(new)['url']}  (shown this once)")
    if new.signing_secret:
        typer.echo(f"Signing secret: {new.signing_secret}")


def _token(new: NewToken) -> dict[str, str]:
    return {
        "integration": new.integration.slug,
        "url": new.url,
        "token": new.token,
        **({"signing_secret": new.signing_secret} if new.signing_secret else {}),
    }


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise refuse("time", found=text, allowed="ISO 8601 such as 2026-11-21T09:00:00Z is allowed") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
