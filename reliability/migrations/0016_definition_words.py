from django.db import migrations

from core.indexing import add_word_index


class Migration(migrations.Migration):
    # The index is made while SLOs are defined. Who is named inside of a definition is asked for on a page.
    atomic = False

    dependencies = [("reliability", "0015_budget_figures")]

    operations = [
        add_word_index(
            "slo_version_words",
            table="reliability_sloversion",
            columns=("definition", "indicator", "calendar", "windows", "objectives", "tiers"),
        ),
    ]
