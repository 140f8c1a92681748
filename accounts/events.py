"""What the room of people and rights announces."""

from typing import ClassVar

from core.events import DomainEvent


class RightsChanged(DomainEvent):
    """A person's rights have changed: a role was granted or revoked, or the person was deactivated."""

    kind: ClassVar[str] = "account.rights_changed"
    user_id: int
    username: str
    change: str


class SignInLocked(DomainEvent):
    """Too many failed sign-ins: this name or address is locked out for a while."""

    kind: ClassVar[str] = "account.sign_in_locked"
    username: str
    address: str
