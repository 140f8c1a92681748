"""The people of the demo organization, one for each role."""

from dataclasses import dataclass
from datetime import timedelta

from accounts.data import Capability, Principal, Role
from accounts.selectors import tokens_of, user_by_username
from accounts.services import create_api_token, create_user, grant_role

PASSWORD = "try-assay-today"  # noqa: S105 printed for everybody who starts the demo


@dataclass(frozen=True)
class DemoPerson:
    """Somebody who can sign in to the demo."""

    username: str
    name: str
    roles: tuple[Role, ...]
    does: str


PEOPLE = (
    DemoPerson("alice", "Alice Alvarez", (Role.RESPONDER,), "on call: takes pages, works incidents, runs runbooks"),
    DemoPerson("bob", "Bob Brandt", (Role.RESPONDER, Role.APPROVER), "approves what others ask for"),
    DemoPerson("olga", "Olga Orlova", (Role.CHAOS_OPERATOR,), "plans and runs chaos experiments"),
    DemoPerson("carol", "Carol Chen", (Role.COMPLIANCE_MANAGER,), "runs the controls and the audits"),
    DemoPerson("ada", "Ada Adeyemi", (Role.AUDITOR,), "audits: sees what was granted for her engagement"),
    DemoPerson("dana", "Dana Duarte", (Role.VIEWER,), "looks, changes nothing"),
    DemoPerson("admin", "Adam Admin", (Role.ADMIN,), "administers the site"),
)
COLLECTOR = "collector"


def load_people(*, principal: Principal) -> None:
    """Create the people who are missing, with their roles."""
    for person in PEOPLE:
        user = user_by_username(username=person.username)
        if user is None:
            user = create_user(
                principal=principal,
                username=person.username,
                password=PASSWORD,
                full_name=person.name,
                email=f"{person.username}@example.org",
                time_zone="Europe/Berlin",
            )
        for role in person.roles:
            grant_role(principal=principal, user=user, role=role)


def collector_token(*, principal: Principal) -> str:
    """Return a fresh token for the stack's telemetry; earlier ones expire by themselves."""
    user = user_by_username(username=COLLECTOR)
    if user is None:
        user = create_user(principal=principal, username=COLLECTOR, password=None, full_name="Demo stack")
        grant_role(principal=principal, user=user, role=Role.RESPONDER)
    _, secret = create_api_token(
        principal=principal,
        owner=user,
        name=f"demo stack {tokens_of(user_id=user.pk).count() + 1}",
        scopes=[Capability.TELEMETRY_INGEST],
        life=timedelta(days=30),
    )
    return secret
