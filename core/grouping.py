"""Commit what many threads bring in groups, so that a commit is paid for once for all who wait.

One thread of the process works off what has gathered while it was busy: under load the groups grow by themselves, and
without load nobody waits for company.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST_GROUP = 64
WAIT_SECONDS = 25.0


class NotCommittedError(RuntimeError):
    """What was brought is not stored: the database did not take it, or not in time."""


class _Entry(Generic[Item, Result]):
    __slots__ = ("done", "error", "item", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: Result | None = None
        self.error: Exception | None = None
        # A bare lock is the cheapest thing that one thread can wait for another with.
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommitter(Generic[Item, Result]):
    """Hand items to `commit`, as many at a time as have gathered; each caller gets the result of its own.

    When a group fails with a database error, each of its items is tried alone, so that one that cannot be stored fails
    alone. `commit` must store everything or nothing and return the results in order.
    """

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Result]], *, largest: int = LARGEST_GROUP) -> None:
        self._commit = commit
        self._largest = largest
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._something = threading.Semaphore(0)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, item: Item) -> Result:
        """Return the result once the item is committed. Raises NotCommittedError when it is not."""
        self._ensure_running()
        entry: _Entry[Item, Result] = _Entry(item)
        self._waiting.append(entry)
        self._something.release()
        if not entry.done.acquire(timeout=WAIT_SECONDS):
            raise NotCommittedError("the database was too slow")
        if entry.error is not None:
            raise NotCommittedError(str(entry.error)) from entry.error
        return entry.result  # type: ignore[return-value]

    def _ensure_running(self) -> None:
        # Started by the first request and not before: threads do not survive the fork of a server.
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._something.acquire()
            group = [self._waiting.popleft()]
            while len(group) < self._largest and self._something.acquire(blocking=False):
                group.append(self._waiting.popleft())
            try:
                self._take(group)
            except BaseException as error:  # whoever waits must be told, whatever went wrong
                logger.exception("a group was not committed")
                for entry in group:
                    entry.error = entry.error or NotCommittedError(type(error).__name__)
            for entry in group:
                entry.done.release()

    def _take(self, group: Sequence[_Entry[Item, Result]]) -> None:
        close_old_connections()
        try:
            results = self._commit([entry.item for entry in group])
        except (DatabaseError, InterfaceError) as error:
            close_old_connections()
            if len(group) == 1:
                group[0].error = error
                return
            for entry in group:
                self._take([entry])
            return
        for entry, result in zip(group, results, strict=True):
            entry.result = result
