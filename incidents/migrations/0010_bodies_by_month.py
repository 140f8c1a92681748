from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from core.partitioning import Conversion, keep_by_month, keep_in_one

BODIES = Conversion(table="incidents_inboundbody", key="event_id", owner="incidents_inboundevent")


def by_month(_apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    keep_by_month(BODIES)


def in_one(_apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    keep_in_one(BODIES)


class Migration(migrations.Migration):
    # The table is swapped in a transaction of its own, after what is there was checked while others write.
    atomic = False
    dependencies = [("incidents", "0009_inbound_bodies")]

    operations = [migrations.RunPython(by_month, in_one)]
