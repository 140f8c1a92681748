"""What the room hears of others."""

from accounts.data import system_principal
from accounts.events import PersonLeft
from core.events import subscribe
from runbooks.services import withdraw_approvals_of


@subscribe(PersonLeft)
def withdraw_approvals(event: PersonLeft) -> None:
    """Let what somebody agreed to in a run that still waits end with their account."""
    withdraw_approvals_of(principal=system_principal("accounts"), user_id=event.user_id, username=event.username)
