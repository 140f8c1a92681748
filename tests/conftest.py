"""Fixtures that every room's tests share."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import hypothesis
import pytest
from django.conf import settings
from django.core.management.commands import flush
from django.db import connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from pytest_django.plugin import DjangoDbBlocker
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from ledger.services.guarding import remove_guard
from tests import forking

# Tests import the web process's entry and call it themselves.
settings.WEB_BEATS = False

# An example that takes long on a busy machine is no mistake of the rule that it tests.
hypothesis.settings.register_profile("assay", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("assay")


# The files that took longest when all was measured, in this order; of those that are not here, the marked ones first.
# The fourth is a short one: with three processes it is kept waiting behind the first, which has one test.
LONGEST_FIRST = (
    "tests/browser/test_story.py",
    "tests/browser/test_every_page.py",
    "tests/compliance/test_pages.py",
    "tests/portal/test_outside_the_scope.py",
    "tests/chaos/test_storm.py",
    "tests/compliance/test_scanning.py",
    "tests/incidents/test_real_prometheus.py",
    "tests/chaos/test_hosts.py",
    "tests/compliance/test_collecting.py",
    "tests/incidents/test_crash_storm.py",
    "tests/ledger/test_ledger_command.py",
    "tests/core/test_embedded_broker.py",
    "tests/reliability/test_killed_receiver.py",
    "tests/chaos/test_recovery_postgresql.py",
    "tests/chaos/test_recovery_site.py",
    "tests/incidents/test_killed_processes.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take or wait long, so that a parallel run does not end with one of them alone."""
    place = {file: number for number, file in enumerate(LONGEST_FIRST)}

    def key(item: pytest.Item) -> tuple[int, bool, bool]:
        file = item.nodeid.partition("::")[0]
        marked = item.get_closest_marker("browser"), item.get_closest_marker("long")
        return place.get(file, len(place)), not marked[0], not marked[1]

    items.sort(key=key)


class BySite(LoadFileScheduling):  # type: ignore[misc]
    """Gives each file to one process, and to one and the same the files that share a served site."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        shares = file.startswith("tests/browser/") and not file.endswith("/test_story.py")
        return "tests/browser" if shares else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return BySite(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _passwords_hash_fast() -> None:
    """A password hash that takes a third of a second protects people, not tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


# What a migration fills and no test changes.
LEFT_ALONE = {"django_content_type", "auth_permission"}


def sql_to_empty_tables(
    operations: BaseDatabaseOperations, _style: object, tables: list[str], **_: object
) -> list[str]:
    """Say how to delete what a test has committed: of some two hundred tables, most have no row.

    Truncating all of them takes PostgreSQL most of a second, and so does filling again what every site needs.
    """
    asked = [
        f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {operations.quote_name(name)})"
        for name in tables
        if name not in LEFT_ALONE
    ]
    with operations.connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return [f"DELETE FROM {operations.quote_name(name)}" for (name,) in cursor.fetchall()]


@pytest.fixture(scope="session", autouse=True)
def _tables_can_be_flushed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Take the ledger's guard away: tests that commit delete every row afterwards. Its own tests put it back."""
    with django_db_blocker.unblock():
        remove_guard(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(connection.ops), "sql_flush", sql_to_empty_tables)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def processes_share_a_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the processes of a parallel run make once what each of them copies."""
    own = tmp_path_factory.getbasetemp()
    forking.shared["folder"] = own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix(processes_share_a_folder: None) -> None:
    """Give each process of a parallel run a database of its own, copied from one that is migrated once.

    One in memory is its own already.
    """
    if connection.vendor == "sqlite":
        return
    test = connection.settings_dict["TEST"]
    test["NAME"] = f"test_assay_{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    test["TEMPLATE"] = forking.empty_database(os.environ["DATABASE_URL"])


@pytest.fixture(scope="module")
def undone_after_module(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let a module's fixtures build a world once: its tests see it and undo only what they add to it.

    What those fixtures write stands in a transaction around those of the tests. Not for modules with tests that commit.
    """
    with ExitStack() as around:
        around.enter_context(django_db_blocker.unblock())
        around.enter_context(transaction.atomic())
        around.callback(transaction.set_rollback, True)
        yield
