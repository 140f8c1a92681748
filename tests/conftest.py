"""Fixtures that every room's tests share."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import hypothesis
import pytest
from django.conf import settings
from django.db import connection, transaction
from pytest_django.plugin import DjangoDbBlocker

from ledger.services.guarding import remove_guard
from tests import forking

# An example that takes long on a busy machine is no mistake of the rule that it tests.
hypothesis.settings.register_profile("assay", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("assay")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that wait long for real processes, so that a parallel run does not end with one of them."""
    items.sort(key=lambda item: (not item.get_closest_marker("browser"), not item.get_closest_marker("long")))


@pytest.fixture(scope="session", autouse=True)
def _passwords_hash_fast() -> None:
    """A password hash that takes a third of a second protects people, not tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


@pytest.fixture(scope="session", autouse=True)
def _tables_can_be_flushed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Take the ledger's guard away: tests that commit delete every row afterwards. Its own tests put it back."""
    with django_db_blocker.unblock():
        remove_guard(connection)


@pytest.fixture(scope="session", autouse=True)
def _processes_share_a_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the processes of a parallel run make once what each of them copies."""
    own = tmp_path_factory.getbasetemp()
    forking.shared["folder"] = own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Give each process of a parallel run a database of its own; one in memory is its own already."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and connection.vendor != "sqlite":
        connection.settings_dict["TEST"]["NAME"] = f"test_assay_{worker}"


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
