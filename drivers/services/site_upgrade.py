"""Bring the database to this release while processes of the release before still work, and go back.

What the older processes cannot live with (a column or table that goes or is renamed, one that may no longer be empty)
is left for later, until none of them runs: `site upgrade --contract`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, migrations
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.models import NOT_PROVIDED

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.context import site_version
from core.migrating import pending_and_unknown
from core.periodic import ensure_jobs
from core.releases import current_release, enter_release, formats_ahead, return_to_release
from core.work import queue_formats, unfinished_count
from drivers.services.site_database import NewerReleaseError, SiteError
from ledger.data.recovery import SiteUpgraded
from ledger.services import record

LOCK = 0x617373_6179
ASKED_AGAIN_AFTER_SECONDS = 0.5
REMOVING = (
    migrations.RemoveField,
    migrations.DeleteModel,
    migrations.RenameField,
    migrations.RenameModel,
    migrations.AlterModelTable,
)


@dataclass(frozen=True)
class UpgradePlan:
    """What an upgrade will do: migrations to apply now, and those that wait until no older process runs."""

    from_version: str
    to_version: str
    now: tuple[str, ...]
    later: tuple[str, ...]
    raised: tuple[str, ...] = ()

    @property
    def restart(self) -> tuple[str, ...]:
        """What to start again, in this order: who does work first, who writes it last."""
        return ("workers", "schedulers", "web servers")


def plan_upgrade(*, principal: Principal, contract: bool = False) -> UpgradePlan:
    """Return what an upgrade would do. Raises SiteError when a newer release was here."""
    ensure_may(principal, Capability.SITE_ADMIN)
    now, later = _split(MigrationExecutor(connection), contract=contract)
    return UpgradePlan(_stands(), site_version(), tuple(map(str, now)), tuple(map(str, later)))


def upgrade_site(
    *,
    principal: Principal,
    contract: bool = False,
    backup: Callable[[], str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> UpgradePlan:
    """Check, back up, apply what the older processes can live with, and note the release. Raises SiteError.

    Two upgrades at once: the second waits for the first, and finds nothing to do.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    with _alone():
        executor = MigrationExecutor(connection, lambda _, one=None, _fake=False: progress(str(one or "")))
        now, later = _split(executor, contract=contract)
        stood = _stands()
        saved = backup() if backup is not None and now and executor.loader.applied_migrations else ""
        if now:
            executor.migrate([(one.app_label, one.name) for one in now], plan=[(one, False) for one in now])
            keep_defaults(now)
        raised = enter_release(version=site_version(), formats=queue_formats(), by=principal.reference)
        ensure_jobs()
        plan = UpgradePlan(stood, site_version(), tuple(map(str, now)), tuple(map(str, later)), tuple(raised))
        if now or raised:
            record(
                SiteUpgraded(
                    from_version=stood,
                    to_version=plan.to_version,
                    migrations=plan.now,
                    left_for_later=plan.later,
                    backup=saved,
                ),
                actor=principal.reference,
                subject="site:assay",
            )
    return plan


def go_back(*, principal: Principal, force: bool = False) -> list[str]:
    """Give the queues to this, older, release again; returns which. Raises SiteError while newer work waits in them.

    To be asked of the older release's code, once no newer process runs. The schema stays as it is.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    ahead = formats_ahead(queue_formats())
    waiting = {queue: count for queue in ahead if (count := unfinished_count(queue))}
    if waiting and not force:
        counted = ", ".join(f"{queue} {count}" for queue, count in waiting.items())
        raise SiteError(
            f"Work that may be in a newer format waits: {counted}. Let the newer workers finish it, or --force. "
            "Nothing was changed.",
            code=1,
        )
    return return_to_release(version=site_version(), formats=queue_formats(), by=principal.reference)


def _stands() -> str:
    if "core_schemarelease" not in connection.introspection.table_names():
        return ""
    stands = current_release()
    return stands.version if stands else ""


def _split(executor: MigrationExecutor, *, contract: bool) -> tuple[list[Migration], list[Migration]]:
    """Return what is applied now and what is left. On an empty database nobody works yet, and nothing is left."""
    _, unknown = pending_and_unknown(connection)
    if unknown:
        raise NewerReleaseError(
            f"A newer release was here: the database has had {'.'.join(unknown[0])}, which {site_version()} does not "
            "know. Run that release's site upgrade. Nothing was changed."
        )
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if contract or not executor.loader.applied_migrations:
        return plan, []
    now: list[Migration] = []
    later: list[Migration] = []
    left: set[tuple[str, str]] = set()
    for migration in plan:
        key = (migration.app_label, migration.name)
        if _removes(executor, migration) or left.intersection(migration.dependencies):
            left.add(key)
            later.append(migration)
        else:
            now.append(migration)
    return now, later


def _removes(executor: MigrationExecutor, migration: Migration) -> bool:
    """Say whether processes of the release before could not go on after it."""
    if any(isinstance(one, REMOVING) for one in migration.operations):
        return True
    altered = [one for one in migration.operations if isinstance(one, migrations.AlterField)]
    if not altered:
        return False
    before = executor.loader.project_state((migration.app_label, migration.name), at_end=False)
    for one in altered:
        state = before.models.get((migration.app_label, one.model_name_lower))
        old = state.fields.get(one.name) if state else None
        if old is not None and old.null and not one.field.null:
            return True
    return False


def keep_defaults(applied: list[Migration]) -> None:
    """Let the database fill a new column that the release before does not know: it would insert rows without it."""
    if connection.vendor != "postgresql":
        return
    with connection.schema_editor() as editor:
        for migration in applied:
            for one in migration.operations:
                if isinstance(one, migrations.AddField):
                    _keep_default(editor, migration.app_label, one)


def _keep_default(editor: Any, app_label: str, added: migrations.AddField) -> None:
    try:
        model = apps.get_app_config(app_label).get_model(added.model_name)
        field: Any = model._meta.get_field(added.name)  # noqa: SLF001 Django's documented name
    except (LookupError, FieldDoesNotExist):
        # A migration after it has removed or renamed it.
        return
    if field.null or field.many_to_many or field.db_default is not NOT_PROVIDED:
        return
    default = editor.effective_default(field)
    if default is not None:
        quoted = editor.quote_name
        editor.execute(
            f"ALTER TABLE {quoted(model._meta.db_table)} ALTER COLUMN {quoted(field.column)} "  # noqa: SLF001
            f"SET DEFAULT {editor.quote_value(default)}"
        )


def _locked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


@contextmanager
def _alone() -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    # Asked for again and again, not waited for in one statement: an index that the other upgrade makes without keeping
    # writers out would wait for that statement in turn.
    while not _locked():
        time.sleep(ASKED_AGAIN_AFTER_SECONDS)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
