"""What an evidence pack carries besides evidence: `verify.py` is copied into each pack and imports nothing of Assay."""
