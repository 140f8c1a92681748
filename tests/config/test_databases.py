from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from config.databases import bound_statements, database_from_url

POSTGRESQL = "postgresql://assay:s%40fe@db.example:5433/site?sslmode=require"


def read(url: str) -> dict[str, Any]:
    return database_from_url(url, state_dir=Path("/state"))


def test_an_address_is_read_with_what_it_quotes() -> None:
    found = read(POSTGRESQL)
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example", "5433", "site")
    assert found["PASSWORD"] == "s@fe"
    assert found["OPTIONS"] == {"sslmode": "require"}


def test_without_an_address_it_is_the_file_in_the_state_folder() -> None:
    assert read("")["NAME"] == "/state/assay.sqlite3"


def test_another_kind_of_database_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ImproperlyConfigured, match="'mysql'; allowed are sqlite"):
        read("mysql://localhost/site")


def test_web_processes_bound_their_statements_and_keep_other_options() -> None:
    found = read("postgresql://localhost/site?options=-c%20work_mem%3D8MB")
    bound_statements(found, seconds=1.5)
    assert found["OPTIONS"]["options"] == "-c work_mem=8MB -c statement_timeout=1500"
    for untouched, seconds in ((read(""), 5), (read(POSTGRESQL), 0)):
        bound_statements(untouched, seconds=seconds)
        assert "options" not in untouched["OPTIONS"]


@pytest.mark.django_db
@pytest.mark.database
def test_postgresql_ends_what_takes_too_long() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL")
    bounded: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {}}
    bound_statements(bounded, seconds=0.05)
    settings = connection.settings_dict
    address = {"host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"], "dbname": settings["NAME"]}
    with psycopg.connect(**address, **bounded["OPTIONS"]) as other, pytest.raises(psycopg.errors.QueryCanceled):
        other.execute("SELECT pg_sleep(30)")
