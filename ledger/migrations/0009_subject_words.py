from django.db import migrations

from core.indexing import add_word_index


class Migration(migrations.Migration):
    # The index is made while entries are recorded.
    atomic = False

    dependencies = [("ledger", "0008_payloads_by_month")]

    operations = [add_word_index("ledger_subject_words", table="ledger_ledgerentry", columns=("subject",))]
