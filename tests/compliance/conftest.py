"""What the tests of compliance share: loaded content, entries as operations leave them, the usual cast."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from compliance.services import load_packaged

SITE = system_principal("test")


KEPT = "kept_"


def tables_with_rows(among: list[str]) -> list[str]:
    with connection.cursor() as cursor:
        counted = " UNION ALL ".join(f"SELECT '{name}', EXISTS (SELECT 1 FROM {name})" for name in among)
        cursor.execute(counted)
        return [name for name, filled in cursor.fetchall() if filled]


@pytest.fixture(scope="session")
def loaded_tables(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Load what comes with the site once, keep it in tables of its own, and name the tables that it fills.

    Loading takes some thousand statements; copying its rows takes one for each table.
    """
    state = tmp_path_factory.mktemp("loaded")
    every = connection.introspection.django_table_names()
    settings = override_settings(ARTIFACT_STORE_URL=f"file://{state}", STATE_DIR=state)
    with django_db_blocker.unblock(), settings, connection.cursor() as cursor:
        before = tables_with_rows(every)
        with transaction.atomic():
            load_packaged()
            filled = [name for name in tables_with_rows(every) if name not in before]
            for name in filled:
                cursor.execute(f"CREATE TABLE {KEPT}{name} AS SELECT * FROM {name}")
            for name in filled:
                cursor.execute(f"DELETE FROM {name}")
            if connection.vendor == "sqlite":
                cursor.execute("DELETE FROM sqlite_sequence")
    yield filled
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for name in filled:
            cursor.execute(f"DROP TABLE {KEPT}{name}")


def copy_what_is_kept(tables: list[str]) -> None:
    with connection.cursor() as cursor:
        for name in tables:
            cursor.execute(f"INSERT INTO {name} SELECT * FROM {KEPT}{name}")


@pytest.fixture
def content(loaded_tables: list[str], db: None, settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path / 'artifacts'}"
    settings.STATE_DIR = tmp_path
    if tables_with_rows(loaded_tables):
        load_packaged()
    else:
        copy_what_is_kept(loaded_tables)


@pytest.fixture
def person(db: None) -> Callable[..., User]:
    def create(username: str, *roles: Role) -> User:
        user = create_user(principal=SITE, username=username, password=None, full_name=username.title())
        for role in roles:
            grant_role(principal=SITE, user=user, role=role)
        return user

    return create


@pytest.fixture
def manager(person: Callable[..., User]) -> Principal:
    return principal_for_user(user=person("carol", Role.COMPLIANCE_MANAGER))
