"""Which migrations the database lacks, and which it has had that this code does not know."""

from collections import OrderedDict
from threading import Lock

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

Key = tuple[str, str]
MOST_KEPT = 4
_known: "OrderedDict[frozenset[Key], tuple[list[Key], list[Key]]]" = OrderedDict()
_lock = Lock()


def pending_and_unknown(connection: BaseDatabaseWrapper) -> tuple[list[Key], list[Key]]:
    """Return the migrations that a database lacks, and those it has had that this code does not know.

    The files do not change while a process lives, so that only what was applied is asked for each time; their graph is
    made when that has changed.
    """
    applied = frozenset(MigrationRecorder(connection).applied_migrations())
    with _lock:
        found = _known.get(applied)
    if found is None:
        found = _compared(connection)
        with _lock:
            _known[applied] = found
            while len(_known) > MOST_KEPT:
                _known.popitem(last=False)
    return list(found[0]), list(found[1])


def _compared(connection: BaseDatabaseWrapper) -> tuple[list[Key], list[Key]]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    ours = set(executor.loader.disk_migrations)
    ours |= {key for one in executor.loader.disk_migrations.values() for key in one.replaces}
    apps = {app for app, _ in ours}
    unknown = sorted(key for key in executor.loader.applied_migrations if key not in ours and key[0] in apps)
    return [(one.app_label, one.name) for one, _ in plan], unknown
