"""What the room hears of others."""

from accounts.data import system_principal
from accounts.events import PersonLeft
from accounts.selectors import references_of
from chaos.services import withdraw_approvals_of
from core.events import subscribe


@subscribe(PersonLeft)
def withdraw_approvals(event: PersonLeft) -> None:
    """Let what somebody agreed to, or asked for, end with their account."""
    withdraw_approvals_of(
        principal=system_principal("accounts"),
        references=references_of(event.username),
        username=event.username,
    )
