from django.db import migrations, models

from core.indexing import AddIndexWhileWritten, add_word_index


class Migration(migrations.Migration):
    # The indexes are made while alerts come in.
    atomic = False

    dependencies = [("incidents", "0007_stream_indexes")]

    operations = [
        AddIndexWhileWritten(
            model_name="alert", index=models.Index(fields=["resolved_at"], name="alert_by_resolution")
        ),
        add_word_index("alert_words", table="incidents_alert", columns=("title", "decision", "fingerprint")),
        add_word_index("incident_words", table="incidents_incident", columns=("title",)),
    ]
