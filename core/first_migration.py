"""The first migration of an app with many tables: all of them in one step.

Django renders what every table refers to anew after each one, which takes a new site longer than all else together.
"""

import copy
from itertools import takewhile
from typing import Any

from django.db import migrations
from django.db.migrations.state import ProjectState


class AllTablesAtOnce(migrations.Migration):
    """Makes the tables that it begins with from one state, the one after the last of them; then goes on as ever."""

    def apply(self, project_state: ProjectState, schema_editor: Any, collect_sql: bool = False) -> ProjectState:
        first = list(takewhile(lambda one: isinstance(one, migrations.CreateModel), self.operations))
        # What is rendered already would be rendered again for each table; without it, once for all.
        vars(project_state).pop("apps", None)
        before = project_state.clone()
        for operation in first:
            operation.state_forwards(self.app_label, project_state)
        for operation in first:
            operation.database_forwards(self.app_label, schema_editor, before, project_state)
        rest = copy.copy(self)
        vars(rest)["operations"] = self.operations[len(first) :]
        return super(AllTablesAtOnce, rest).apply(project_state, schema_editor, collect_sql)
