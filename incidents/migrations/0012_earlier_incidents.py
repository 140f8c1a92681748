from django.db import migrations, models

from core.indexing import AddIndexWhileWritten


class Migration(migrations.Migration):
    # The index is made while incidents are worked on.
    atomic = False

    dependencies = [("incidents", "0011_who_did_it")]

    operations = [
        AddIndexWhileWritten(
            model_name="incident", index=models.Index(fields=["grouping_key", "-id"], name="incident_by_grouping")
        ),
    ]
