"""What the `slo` commands ask for in the same way: who acts, which SLO, when."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from catalog.selectors import service_by_slug
from core.cli import ExitCode, fail
from reliability.models import SLO, SLOVersion
from reliability.selectors import slos_visible, version_in_force

AsOption = Annotated[str, typer.Option("--as", help="Act as this user.")]


def principal_for(username: str) -> Principal:
    """Return who acts: the command line itself, or a user."""
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        fail(f"There is no user {username!r}.")
    return principal_for_user(user=user)


def find_slo(name: str, principal: Principal) -> SLO:
    """Return an SLO that the principal may see."""
    slo = slos_visible(viewer=principal).filter(slug=name).first()
    if slo is None:
        fail(f"There is no SLO {name!r} that you may see.")
    return slo


def find_service(slug: str) -> Any:
    """Return a service of the catalog."""
    service = service_by_slug(slug=slug)
    if service is None:
        fail(f"There is no service {slug!r}.")
    return service


def definition_for(name: str, acting: str) -> SLOVersion:
    """Return the definition in force of an SLO."""
    version = version_in_force(slo=find_slo(name, principal_for(acting)))
    if version is None:
        fail(f"{name} has no definition in force.", ExitCode.NO)
    return version


def instant(text: str, option: str) -> datetime:
    """Return the instant that an option names; UTC without a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option}: found {text!r}; an instant as 2026-03-01T12:00:00Z is allowed.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
