import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def leave(_apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What is stored stays where it is, and is read there."""


def bring_back(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute(
        "UPDATE incidents_inboundevent SET headers = stored.headers, body = stored.body "
        "FROM incidents_inboundbody AS stored WHERE stored.event_id = incidents_inboundevent.id"
    )


class Migration(migrations.Migration):
    dependencies = [("incidents", "0008_alert_words")]

    operations = [
        migrations.CreateModel(
            name="InboundBody",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="stored",
                        serialize=False,
                        to="incidents.inboundevent",
                    ),
                ),
                ("headers", models.JSONField(default=dict)),
                ("body", models.BinaryField()),
            ],
            options={"verbose_name_plural": "inbound bodies", "ordering": ("pk",)},
        ),
        migrations.RunPython(leave, bring_back),
        migrations.AlterField(model_name="inboundevent", name="body", field=models.BinaryField(default=b"")),
    ]
