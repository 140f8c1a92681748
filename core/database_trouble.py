"""What is wrong with the database when a statement fails, as far as the database says it; or with the disk for files.

PostgreSQL tells by SQLSTATE (appendix A of its documentation), SQLite by its result codes, the disk by `errno`.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from enum import StrEnum

from django.db import DatabaseError, InterfaceError, OperationalError, transaction


class Trouble(StrEnum):
    """What keeps the database, or the disk for files, from doing what it was asked."""

    UNREACHABLE = "unreachable"
    READ_ONLY = "read-only"
    FULL = "full"
    NO_ROOM = "no-room"


SAID = {
    Trouble.UNREACHABLE: "The database does not answer",
    Trouble.READ_ONLY: "The database takes no writes",
    Trouble.FULL: "The disk of the database is full",
    Trouble.NO_ROOM: "The disk for files is full",
}
RETRY_AFTER_SECONDS = {Trouble.UNREACHABLE: 5, Trouble.READ_ONLY: 30, Trouble.FULL: 60, Trouble.NO_ROOM: 60}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_BY_STATE = {"25006": Trouble.READ_ONLY, "53100": Trouble.FULL}
_BY_CODE = {sqlite3.SQLITE_READONLY: Trouble.READ_ONLY, sqlite3.SQLITE_FULL: Trouble.FULL}


def trouble_of(error: BaseException | None) -> Trouble | None:
    """Return what is wrong; None where the statement itself was wrong, or it was neither a statement nor the disk."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _NO_ROOM:
            return Trouble.NO_ROOM
        if found := _BY_STATE.get(str(getattr(one, "sqlstate", "")) or ""):
            return found
        code = getattr(one, "sqlite_errorcode", None)
        if isinstance(code, int) and (found := _BY_CODE.get(code & 0xFF)):
            return found
    reached = any(isinstance(one, OperationalError | InterfaceError) for one in _chain(error))
    return Trouble.UNREACHABLE if reached else None


def written_if_possible(write: Callable[[], object]) -> bool:
    """Write what is only noted on the way, as when a session was last used; say whether it was.

    A database that takes no writes must not keep anybody from reading. Every other failure is raised.
    """
    try:
        with transaction.atomic():
            write()
    except DatabaseError as error:
        if trouble_of(error) not in {Trouble.READ_ONLY, Trouble.FULL}:
            raise
        return False
    return True


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 8:
        yield error
        error, seen = error.__cause__, seen + 1
