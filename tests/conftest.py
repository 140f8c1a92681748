"""Fixtures that every room's tests share."""

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from ledger.services.guarding import remove_guard


@pytest.fixture(scope="session", autouse=True)
def _tables_can_be_flushed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Take the ledger's guard away: tests that commit delete every row afterwards. Its own tests put it back."""
    with django_db_blocker.unblock():
        remove_guard(connection)
