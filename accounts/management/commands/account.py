"""`manage.py account`: people, roles and tokens."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from django.core.exceptions import ValidationError
from django_typer.management import command

from accounts.data import Capability, Role, system_principal
from accounts.models import Team, User
from accounts.selectors import locked_out, people, provider_by_slug, team_by_slug, user_by_username
from accounts.services import (
    apply_documents,
    create_api_token,
    create_user,
    deactivate_user,
    grant_role,
    remove_factors,
    revoke_role,
    set_break_glass,
    try_provider,
    unlock_address,
    unlock_sign_in,
)
from core.cli import (
    ExitCode,
    FormatOption,
    OutputFormat,
    RoomCommand,
    answering,
    fail,
    print_answer,
    print_json,
    print_rows,
)
from core.clock import database_now
from core.parsing import load_yaml_documents

USERNAME = Annotated[str, typer.Argument(help="User name.")]
TEAM = Annotated[str, typer.Option(help="Slug of a team; without it the role holds for the whole site.")]


class Command(RoomCommand):
    help = "People, the roles they hold, and API tokens."

    @command(name="list")
    @answering
    def list_people(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print everybody with their roles."""
        rows = [
            {
                "username": user.username,
                "name": str(user),
                "active": user.is_active,
                "roles": ", ".join(f"{g.role}{f' ({g.team.slug})' if g.team else ''}" for g in user.grants.all()),
            }
            for user in people()
        ]
        print_rows(rows, columns=("username", "name", "active", "roles"), output=output, empty="Nobody yet.")

    @command(name="create-user")
    @answering
    def create(  # noqa: PLR0917 the command line names them
        self,
        username: USERNAME,
        role: Annotated[list[Role] | None, typer.Option(help="A site-wide role; may be repeated.")] = None,
        email: str = "",
        name: Annotated[str, typer.Option(help="Full name.")] = "",
        password: Annotated[
            str,
            typer.Option(
                prompt="Password (empty: signs in by an identity provider)",
                prompt_required=True,
                hide_input=True,
                confirmation_prompt=True,
                show_default=False,
                help="Asked for when left out; - reads it from standard input. "
                "Empty: none, for who signs in by an identity provider.",
            ),
        ] = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Create a person who can sign in; for the first administrator: --role admin."""
        principal = system_principal("cli")
        if password == "-":  # noqa: S105 the sign of standard input
            password = sys.stdin.readline().rstrip("\r\n")
        try:
            user = create_user(
                principal=principal, username=username, password=password or None, email=email, full_name=name
            )
        except ValidationError as error:
            fail("\n".join(error.messages))
        for granted in role or ():
            grant_role(principal=principal, user=user, role=granted)
        roles = [granted.value for granted in role or ()]
        print_answer({"username": username, "roles": roles}, output=output, text=f"{username} can sign in.")

    @command()
    @answering
    def grant(self, username: USERNAME, role: Role, team: TEAM = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Give a person a role."""
        grant_role(principal=system_principal("cli"), user=self._user(username), role=role, team=self._team(team))
        self._say(username, role, team, output, verb="holds")

    @command()
    @answering
    def revoke(self, username: USERNAME, role: Role, team: TEAM = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """Take a role away. Exit code 1: the person did not hold it."""
        user, scope = self._user(username), self._team(team)
        if not revoke_role(principal=system_principal("cli"), user=user, role=role, team=scope):
            fail(f"{username} does not hold {role.value} there.", ExitCode.NO)
        self._say(username, role, team, output, verb="no longer holds")

    @command()
    @answering
    def deactivate(self, username: USERNAME, output: FormatOption = OutputFormat.TEXT) -> None:
        """Close an account: no sign-in, no tokens, no roles."""
        deactivate_user(principal=system_principal("cli"), user=self._user(username))
        print_answer({"username": username, "active": False}, output=output, text=f"{username} cannot sign in.")

    @command()
    @answering
    def token(
        self,
        username: USERNAME,
        scope: Annotated[list[Capability], typer.Option(help="What the token may do; may be repeated.")],
        name: str = "cli",
        days: Annotated[int, typer.Option(min=1, max=366)] = 90,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Create an API token and print it; it is not shown again."""
        token, secret = create_api_token(
            principal=system_principal("cli"),
            owner=self._user(username),
            name=name,
            scopes=scope,
            life=timedelta(days=days),
        )
        if output is OutputFormat.JSON:
            print_json({"token": secret, "name": token.name, "expires_at": token.expires_at.isoformat()})
        else:
            typer.echo(secret)

    @command()
    @answering
    def apply(
        self,
        paths: Annotated[list[Path], typer.Argument(help="YAML files, applied together or not at all.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Apply identity providers and the rules of signing in (kinds IdentityProvider, SignInPolicy)."""
        documents = [one for path in paths for one in load_yaml_documents(path.read_bytes(), source=str(path))]
        applied = apply_documents(principal=system_principal("cli"), documents=documents)
        print_answer({"applied": applied}, output=output, text="\n".join(f"Applied {one}." for one in applied))

    @command(name="try-provider")
    @answering
    def try_provider(self, name: str, output: FormatOption = OutputFormat.TEXT) -> None:
        """Ask a provider of identities whether it answers. Exit code 1: it does not."""
        provider = provider_by_slug(slug=name)
        if provider is None:
            fail(f"There is no provider {name!r}.")
        tried = try_provider(provider=provider)
        if not tried.good:
            fail("\n".join(tried.lines), ExitCode.NO)
        print_answer({"provider": name, "lines": list(tried.lines)}, output=output, text="\n".join(tried.lines))

    @command()
    @answering
    def locked(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """List the user names and addresses that are locked out now."""
        rows = [
            {"kind": one.kind.value, "key": one.key, "failures": one.failures, "until": one.until.isoformat()}
            for one in locked_out(now=database_now())
        ]
        print_rows(rows, columns=("kind", "key", "failures", "until"), output=output, empty="Nobody is locked out.")

    @command()
    @answering
    def unlock(
        self,
        name: Annotated[str, typer.Argument(help="User name, or the address with --address.")],
        address: Annotated[bool, typer.Option("--address", help="Lift the lock of an address.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Forget the failed sign-ins of a name or from an address, so that people can sign in at once."""
        principal = system_principal("cli")
        if address:
            unlocked = unlock_address(principal=principal, address=name)
            text = f"People can sign in from {name} again." if unlocked else f"{name} was not locked."
        else:
            unlocked = unlock_sign_in(principal=principal, username=name)
            text = f"{name} can sign in again." if unlocked else f"{name} was not locked."
        print_answer({"address" if address else "username": name, "unlocked": unlocked}, output=output, text=text)

    @command(name="break-glass")
    @answering
    def break_glass(
        self,
        username: USERNAME,
        off: Annotated[bool, typer.Option("--off", help="Make it an ordinary account again.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Make an account one for emergencies: its password always opens, and its sign-in alarms."""
        set_break_glass(principal=system_principal("cli"), user=self._user(username), is_break_glass=not off)
        kind = "an ordinary" if off else "a break-glass"
        answer = {"username": username, "break_glass": not off}
        print_answer(answer, output=output, text=f"{username} is {kind} account.")

    @command(name="remove-factors")
    @answering
    def remove_factors(self, username: USERNAME, output: FormatOption = OutputFormat.TEXT) -> None:
        """Take a person's second factors away, as when the phone of the only administrator is lost."""
        removed = remove_factors(principal=system_principal("cli"), user=self._user(username))
        text = f"{username} has no second factor now; the next sign-in asks for a new one where their role does."
        print_answer({"username": username, "removed": removed}, output=output, text=text)

    @staticmethod
    def _say(username: str, role: Role, team: str, output: OutputFormat, *, verb: str) -> None:
        where = f"for the team {team}" if team else "for the whole site"
        answer = {"username": username, "role": role.value, "team": team, "change": verb}
        print_answer(answer, output=output, text=f"{username} {verb} {role.value} {where}.")

    @staticmethod
    def _user(username: str) -> User:
        user = user_by_username(username=username)
        if user is None:
            fail(f"There is no active person named {username!r}.")
        return user

    @staticmethod
    def _team(slug: str) -> Team | None:
        if not slug:
            return None
        team = team_by_slug(slug=slug)
        if team is None:
            fail(f"There is no team {slug!r}.")
        return team
