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


class PersonLeft(DomainEvent):
    """A person's account was closed: they hold no session, token or role any more.

    Published once for each closing, by hand, by a directory or by a command. Rooms that have given the person something
    to do (a turn on call, an approval to give, a grant) take it back and show what is missing.
    """

    kind: ClassVar[str] = "account.person_left"
    user_id: int
    username: str
    by: str


class BreakGlassUsed(DomainEvent):
    """A break-glass account has signed in: somebody should know why. `entry` is the sign-in's in the ledger."""

    kind: ClassVar[str] = "account.break_glass_used"
    user_id: int
    username: str
    address: str
    entry: int = 0
