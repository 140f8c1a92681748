"""Fixtures that every room's tests share."""

import os

import pytest
from django.conf import settings
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from ledger.services.guarding import remove_guard


@pytest.fixture(scope="session", autouse=True)
def _passwords_hash_fast() -> None:
    """A password hash that takes a third of a second protects people, not tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


@pytest.fixture(scope="session", autouse=True)
def _tables_can_be_flushed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Take the ledger's guard away: tests that commit delete every row afterwards. Its own tests put it back."""
    with django_db_blocker.unblock():
        remove_guard(connection)


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Give each process of a parallel run a database of its own; one in memory is its own already."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and connection.vendor != "sqlite":
        connection.settings_dict["TEST"]["NAME"] = f"test_assay_{worker}"
