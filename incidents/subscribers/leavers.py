"""Who left is on call no more: their turns become gaps, and whoever can close them is told."""

from accounts.data import system_principal
from accounts.events import PersonLeft
from core.events import subscribe
from incidents.services import take_out_leaver

ACCOUNTS = system_principal("accounts")


@subscribe(PersonLeft)
def take_out_of_schedules(event: PersonLeft) -> None:
    """End stand-ins and open requests of somebody who left, and tell of the gaps that their turns leave."""
    take_out_leaver(principal=ACCOUNTS, user_id=event.user_id, username=event.username)
