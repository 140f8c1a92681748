"""Parts of words are searched by an index where the database can have one, and found without one too."""

import pytest
from django.db import connection
from django.db.migrations.state import StateApps

from accounts.data import system_principal
from core.indexing import add_word_index
from ledger.data.access import AuditedAction
from ledger.selectors import entries
from ledger.services import record

STATE = StateApps([], {})

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE '%words'")
        return {row[0] for row in cursor.fetchall()}


def test_a_part_of_a_subject_is_found() -> None:
    payload = AuditedAction(action="service.changed", target="svc-00042")
    record(payload, actor=system_principal("test").reference, subject="service:svc-00042")
    assert [one.subject for one in entries().filter(subject__icontains="C-0004")] == ["service:svc-00042"]


def test_the_index_is_there_on_postgresql_and_can_be_made_again() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("trigrams are PostgreSQL's")
    assert {"ledger_subject_words", "alert_words", "incident_words"} <= indexes()
    again = add_word_index("team_words", table="accounts_team", columns=("name", "slug"))
    with connection.schema_editor(atomic=False) as editor:
        again.code(STATE, editor)
        assert "team_words" in indexes()
        again.code(STATE, editor)
        assert again.reverse_code is not None
        again.reverse_code(STATE, editor)
    assert "team_words" not in indexes()
