from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from core.partitioning import Conversion, keep_by_month, keep_in_one
from ledger.services.guarding import install_guard, remove_guard


def _conversion(schema_editor: BaseDatabaseSchemaEditor) -> Conversion:
    database = schema_editor.connection
    return Conversion(
        table="ledger_entrycontent",
        key="entry_id",
        owner="ledger_ledgerentry",
        before=lambda: remove_guard(database),
        after=lambda: install_guard(database),
    )


def by_month(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    keep_by_month(_conversion(schema_editor))


def in_one(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    keep_in_one(_conversion(schema_editor))


class Migration(migrations.Migration):
    # The table is swapped in a transaction of its own, after what is there was checked while others write.
    atomic = False
    dependencies = [("ledger", "0007_artifact_region")]

    operations = [migrations.RunPython(by_month, in_one)]
