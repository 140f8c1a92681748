"""Indexes that are made while their tables are written to, and those for a part of a word in very many rows.

The latter are of trigrams, where PostgreSQL has `pg_trgm`. Where that may not be created (it needs the right to create
in the database), and on SQLite, the same searches read the whole table. An index that was cut off is made anew.
"""

from collections.abc import Sequence

from django.apps.registry import Apps
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RunPython
from django.db.migrations.state import ProjectState

EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"


class AddIndexWhileWritten(AddIndex):
    """An index of a model as `AddIndex` makes it, without keeping writers out; the migration must not be atomic."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        statement = self.index.create_sql(model, schema_editor, concurrently=True)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.index.name}")
            cursor.execute(str(statement))


def add_word_index(name: str, *, table: str, columns: Sequence[str]) -> RunPython:
    """Return a migration's operation that makes `icontains` and `istartswith` on these columns quick.

    The migration must not be atomic. The index is of the expression that Django's look-ups compare.
    """
    expressions = ", ".join(f"upper({column}::text) gin_trgm_ops" for column in columns)

    def make(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
        connection = editor.connection
        if connection.vendor != "postgresql" or not has_trigrams(connection):
            return
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            cursor.execute(f"CREATE INDEX CONCURRENTLY {name} ON {table} USING gin ({expressions})")
            # Without figures of the new expressions the planner reads the table all the same.
            cursor.execute(f"ANALYZE {table}")

    def drop(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "postgresql":
            with editor.connection.cursor() as cursor:
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")

    return RunPython(make, drop)


def has_trigrams(connection: BaseDatabaseWrapper) -> bool:
    """Create the extension if it may be created; say whether it is there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'")
        if cursor.fetchone():
            return True
        try:
            cursor.execute(EXTENSION)
        except DatabaseError:
            return False
    return True
