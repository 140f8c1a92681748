from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from core.partitioning import Conversion, keep_by_month, keep_in_one
from core.partitions import run

OLD, NEW = "reliability_tallyblock", "reliability_tallyminute"
# Days whose edges have a table of their own: what of them is left in months is more, and goes.
BRING_BACK = """
DELETE FROM reliability_tallyminute AS block USING reliability_tallyday AS day
WHERE day.form = 3 AND day.key = ((block.key >> 32) << 32) + (block.key & 4294967295) / 1440;
INSERT INTO reliability_tallyminute (key, body) SELECT key, body FROM reliability_tallyedge;
DELETE FROM reliability_tallyedge;
UPDATE reliability_tallyday SET form = 2 WHERE form = 3;
"""


def by_month(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        keep_by_month(Conversion(table=OLD, key="key", into=NEW))
    else:
        run(f"ALTER TABLE {OLD} RENAME TO {NEW}")


def in_one(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        keep_in_one(Conversion(table=OLD, key="key", into=NEW, before=lambda: run(BRING_BACK)))
    else:
        run(f"ALTER TABLE {NEW} RENAME TO {OLD}")


class Migration(migrations.Migration):
    # The table is made a part in a transaction of its own, after what is there was checked while others write.
    atomic = False
    dependencies = [("reliability", "0018_tally_edges")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AlterModelTable("tallyblock", NEW)],
            database_operations=[migrations.RunPython(by_month, in_one)],
        )
    ]
