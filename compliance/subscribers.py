"""What the room hears of others."""

from accounts.data import system_principal
from accounts.events import PersonLeft
from compliance.services import audits
from core.events import subscribe


@subscribe(PersonLeft)
def revoke_grants(event: PersonLeft) -> None:
    """Close every engagement to somebody who left."""
    audits.revoke_all_of(principal=system_principal("accounts"), user_id=event.user_id)
