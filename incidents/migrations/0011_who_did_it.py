from django.db import migrations, models

from core.indexing import AddIndexWhileWritten


class Migration(migrations.Migration):
    # The indexes are made while incidents are worked on.
    atomic = False

    dependencies = [("incidents", "0010_bodies_by_month")]

    operations = [
        AddIndexWhileWritten(
            model_name="incident", index=models.Index(fields=["declared_by"], name="incident_by_opener")
        ),
        AddIndexWhileWritten(
            model_name="incident", index=models.Index(fields=["resolved_by"], name="incident_by_resolver")
        ),
        AddIndexWhileWritten(
            model_name="timelineentry", index=models.Index(fields=["actor"], name="timeline_by_actor")
        ),
    ]
